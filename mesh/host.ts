// The port through which the mesh reaches session servers. `node/` implements it; the mesh never sees application code.

import type { Fence, MeshError, SessionId, SessionKey } from "#proto";
import type { PlacementWish } from "#placement";
import type { SessionCall, SessionReply } from "./call.ts";
import type { ClientEnd, ConnectReply } from "./socket.ts";

export interface SessionHost {
  /** True while a server of the session lives here, from `activate` until its end was reported through `onEnded`. */
  has(key: SessionKey): boolean;

  /**
   * Creates the server. MUST be synchronous up to the point where `has` is true; `onStart` may go on after it. MUST NOT be called
   * for a session that `has`. An unknown kind throws `unknown_kind`, a name that crashed too often `overloaded`, and nothing is created.
   */
  activate(id: SessionId, fence: Fence): void;

  /**
   * Serves a request. MUST only be called while `has`. Rejects (or throws) MeshError only. A plain value where no waiting was needed:
   * the local path then costs no promise.
   */
  fetch(call: SessionCall): SessionReply | Promise<SessionReply>;

  /** Offers a client's socket. MUST only be called while `has`. Never rejects. */
  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply>;

  /** Why no session of the kind takes requests, or sockets, at all: asked before one is started for that. Throws `unknown_kind`. */
  refusalOf(id: SessionId, upgrade: boolean): MeshError | undefined;

  /** Every live session, in no order. */
  sessions(): Iterable<{ readonly id: SessionId; readonly fence: Fence }>;

  /** What the application says about where sessions of a kind belong. Throws `unknown_kind`. */
  wishOf(kind: string): PlacementWish;
}
