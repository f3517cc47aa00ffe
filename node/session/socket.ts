// A client's WebSocket as session code sees it. cell-socket.ts implements it.

export interface SessionSocket<Attachment = unknown> {
  /** Unguessable; unique among all sockets. */
  readonly id: string;
  /** For `sockets(tag)` and `broadcast(..., { tag })`; assign a new list to change them. */
  tags: readonly string[];
  /** Whatever the session wants to remember about the client. */
  attachment: Attachment;
  /** The URL of the request that opened it. */
  readonly url: string;
  /** Bytes sent that have not reached the client's kernel yet. */
  readonly bufferedAmount: number;
  /** Does nothing once the socket is closed. Bytes are not copied: do not change them afterwards. */
  send(message: string | Uint8Array | ArrayBuffer): void;
  /** @param code 1000, or 3000 to 4999 for the application @param reason at most 123 bytes of UTF-8 */
  close(code?: number, reason?: string): void;
  /** Resolves when all that was sent has gone to the client's kernel, or the socket is closed. */
  drain(): Promise<void>;
}
