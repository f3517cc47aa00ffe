// One request on its way to a session, and what comes back. The same shapes serve a local hit and a hop over a link, so a
// host cannot tell them apart. Socket shapes are in socket.ts.

import type { HeaderList, MeshError, SessionId } from "#proto";

/** A whole body that is at hand, or a stream that is pulled at the pace of its reader. */
export type Body = string | Uint8Array | ReadableStream<Uint8Array> | null;

export interface SessionReply {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderList;
  readonly body: Body;
}

export class SessionCall {
  readonly id: SessionId;
  readonly method: string;
  /** Absolute. */
  readonly url: string;
  /** As the client sent them; hop-by-hop headers included, which readers must skip. */
  readonly headers: HeaderList;
  /** Read once, by whoever serves the call. A retry is allowed only while nothing was read. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  /** From now until the head of the response must be there. */
  readonly timeoutMs: number;
  /** Never creates a session: fails with `not_active` instead. */
  readonly onlyIfActive: boolean;
  /** Address of the client, as the gateway knows it. Empty: a session asks. */
  readonly ip: string;
  /** What the application's hooks at the gateway said of the client; see `encodeClaims`. */
  readonly claims: Uint8Array | undefined;
  /** Of a socket: the sub-protocol that was chosen, which its gateway sets before anybody else sees the call. Empty: none. */
  protocol: string;
  #cancelled: MeshError | undefined;
  #listener: ((reason: MeshError) => void) | undefined;

  constructor(call: {
    id: SessionId;
    method: string;
    url: string;
    headers: HeaderList;
    body?: Uint8Array | ReadableStream<Uint8Array> | null;
    timeoutMs: number;
    onlyIfActive?: boolean;
    ip?: string;
    claims?: Uint8Array | undefined;
    protocol?: string;
  }) {
    this.id = call.id;
    this.method = call.method;
    this.url = call.url;
    this.headers = call.headers;
    this.body = call.body ?? null;
    this.timeoutMs = call.timeoutMs;
    this.onlyIfActive = call.onlyIfActive ?? false;
    this.ip = call.ip ?? "";
    this.claims = call.claims;
    this.protocol = call.protocol ?? "";
  }

  /** Set once the caller has gone away. */
  get cancelled(): MeshError | undefined {
    return this.#cancelled;
  }

  /** The caller has gone away. Later calls do nothing. */
  cancel(reason: MeshError): void {
    if (this.#cancelled !== undefined) return;
    this.#cancelled = reason;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(reason);
  }

  /** One listener at a time, the one that serves the call now; called at once when the call is cancelled already. */
  onCancel(listener: ((reason: MeshError) => void) | undefined): void {
    if (listener !== undefined && this.#cancelled !== undefined) listener(this.#cancelled);
    else this.#listener = listener;
  }
}
