// A client's WebSocket as session code sees it. cell-socket.ts implements it.

import type { Claims } from "#proto";
import type { SocketMessage } from "./socket-message.ts";

/** A client's WebSocket as its session sees it. */
export interface SessionSocket<Attachment = unknown> {
  /**
   * The client's own `?_pk=`, as `partysocket` sends it, or a random UUID. Up to the client, so it says nothing about who the client is, and
   * two sockets may have the same id, such as the old one of a client that has connected again.
   */
  readonly id: string;
  /** For `sockets(tag)` and `broadcast(..., { tag })`; assign a new list to change them. */
  tags: readonly string[];
  /** Whatever the session wants to remember about the client; undefined until it is assigned. */
  attachment: Attachment;
  /** The URL of the request that opened it. */
  readonly url: string;
  /** Address of the client; see `Caller`. */
  readonly ip: string | undefined;
  /** What the application's hooks at the gateway said of the client. */
  readonly claims: Claims | undefined;
  /** The sub-protocol that `static protocols` chose of those that the client offered; "" for none. */
  readonly protocol: string;
  /** Bytes sent that have not reached the client's kernel yet. */
  readonly bufferedAmount: number;
  /**
   * Text, or bytes in an ArrayBuffer, a typed array, a DataView or a Blob; anything else throws TypeError. In the order of the calls, also when
   * a blob takes time to read. Does nothing once the socket is closed. Bytes are not copied: do not change them afterwards.
   */
  send(message: SocketMessage): void;
  /**
   * In `onConnect`: the handshake is answered, what was sent follows, and then the close.
   * @param code 1000 (the default) to 1003, 1007 to 1014, or 3000 to 4999 for the application; others throw RangeError
   * @param reason at most 123 bytes of UTF-8, or RangeError
   */
  close(code?: number, reason?: string): void;
  /** Resolves when all that was sent has gone to the client's kernel, or the socket is closed. */
  drain(): Promise<void>;
}
