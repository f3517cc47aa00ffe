// What becomes of a connection whose client still sends a body that nobody wants. Keeping it would mean to read all of it;
// closing it at once makes the kernel reset it, and the client may lose the answer that says why.

import type { IncomingMessage } from "node:http";
import type { RequestBody } from "./request-body.ts";

/** Unread bytes that are worth reading to keep the connection: what one socket buffer holds anyway. */
const DISCARD_BYTES_MAX = 64 * 1024;
/** How long a closing connection is still read, so that the client gets to the answer. */
const LINGER_MS = 1_000;
/** How much of it is read meanwhile, at most. */
const LINGER_BYTES_MAX = 4 * 1024 * 1024;

/** True when the response must close the connection because too much of the request is still to come. */
export function leavesUnread(request: IncomingMessage, body: RequestBody | undefined): boolean {
  if (body === undefined || request.complete) return false;
  return body.excess !== undefined || body.unreadBytes > DISCARD_BYTES_MAX;
}

/** Makes the end of this connection wait a little. Call it when the response with `connection: close` was written. */
export function lingerOnClose(request: IncomingMessage): void {
  const { socket } = request;
  const bytesMax = socket.bytesRead + LINGER_BYTES_MAX;
  // Node ends a connection after its last response with this method: writes are flushed, then the socket is destroyed.
  socket.destroySoon = () => {
    socket.end();
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
    request.once("end", () => socket.destroy());
    request.on("data", () => {
      if (socket.bytesRead > bytesMax) socket.destroy();
    });
    request.resume();
  };
}
