// A client's WebSocket as the two ends of it see each other: the gateway that holds the TCP connection (ClientEnd) and the
// session's host (SessionEnd). On one worker they call each other directly; across a link both are frames.
//
// Back-pressure runs both ways by bytes that are not consumed yet:
// - client to session: each `message` call returns nothing or a promise. The gateway counts the bytes of unsettled
//   promises and stops reading from the client above SOCKET_WINDOW_BYTES.
// - session to client: `buffered` is what has been sent and has not reached the client's kernel yet. The host decides what a session may
//   buffer; it is told by `drained` when all of it has gone.

import type { MeshError } from "#proto";
import type { SessionReply } from "./call.ts";

/** Bytes under way to a session for one socket before its client is no longer read. Too small stalls fast links, too large costs memory per slow session. */
export const SOCKET_WINDOW_BYTES = 256 * 1024;

/** What a host holds of a client. Calls after `close` do nothing. */
export interface ClientEnd {
  send(data: string | Uint8Array): void;
  /** Bytes sent and not yet passed to the client's kernel, across all hops. */
  readonly buffered: number;
  close(code: number, reason: string): void;
}

/** What a gateway holds of a session that accepted a socket. */
export interface SessionEnd {
  /** Text as string, binary as bytes. A promise while the session is still busy with it. Never throws or rejects. */
  message(data: string | Uint8Array): void | Promise<void>;
  /** All that was sent has gone to the client's kernel. */
  drained(): void;
  /** The client is gone. Exactly once, and nothing after it. */
  closed(code: number, reason: string, clean: boolean): void;
}

/** Bytes of a session's own answer to a handshake. It travels in one frame, and clients of WebSockets hardly look at it. */
export const ANSWER_BYTES_MAX = 64 * 1024;

/** What a session makes of a handshake. */
export type ConnectAnswer =
  /** It takes the socket. */
  | { readonly status: "accepted"; readonly end: SessionEnd }
  /** It does not, and says so in an answer of its own. Its body is whole, ANSWER_BYTES_MAX at most. */
  | { readonly status: "answered"; readonly reply: SessionReply };

export type ConnectReply =
  | ConnectAnswer
  /** The handshake is answered with this error. */
  | { readonly status: "refused"; readonly error: MeshError };
