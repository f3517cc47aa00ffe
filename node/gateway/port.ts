// What a gateway needs from the worker that it stands in.

import type { ClientEnd, ConnectReply, SessionCall, SessionReply } from "#mesh";
import type { SessionId } from "#proto";
import type { Authorize, KindHooks } from "../session/admission.ts";
import type { ResolvedEdge } from "../session/edge-options.ts";
import type { ApplicationMesh } from "../session/application.ts";

export interface KindLimits {
  /** Bytes of a request body, or Infinity. */
  readonly maxBodyBytes: number;
  /** Bytes of one socket message. */
  readonly maxMessageBytes: number;
  /** Offer permessage-deflate. */
  readonly compress?: boolean;
  /** From a request to the head of its response, or Infinity. */
  readonly requestTimeoutMs: number;
}

/** What an application says about requests itself. */
export interface EdgeApplication {
  readonly fetch?: ((request: Request, mesh: ApplicationMesh) => unknown) | undefined;
  readonly authorize?: Authorize | undefined;
  /** Throws `unknown_kind`. */
  hooksOf?(kind: string): KindHooks;
  readonly edge?: ResolvedEdge;
}

export interface GatewayRouter {
  /** For the front page. */
  kinds(): readonly string[];
  /** Throws `unknown_kind`. */
  limitsOf(kind: string): KindLimits;
  /** Throws or rejects MeshError. A plain value where no waiting was needed. */
  route(call: SessionCall): SessionReply | Promise<SessionReply>;
  /** Never rejects. */
  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply>;
  /** An id that nobody can guess, local to this worker where possible. */
  createName(kind: string): SessionId;
  /** Starts the session. Rejects MeshError. */
  activate(id: SessionId): Promise<void>;
  /** Requests, messages and timers of sessions of this worker so far, whoever they came from; handshakes are not among them. */
  eventsServed(): number;
  /** False while the worker drains or has no view: health checks then fail. */
  accepting(): boolean;
}
