// Answers what is not HTTP, where an answer can still be understood, and ends the connection: after a parse error nobody knows
// where the next request would begin.

import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { MeshError, problemOf } from "#proto";

export function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  // Node keeps the response under way on the socket (it has no public name for that). Bytes of ours would end up inside of it.
  const midResponse = Reflect.get(socket, "_httpMessage") != null;
  if (midResponse || !socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const { status, message } = reasonOf(error.code);
  endWithProblem(socket, status, message);
}

/** Writes the answer without any help of Node's HTTP, and ends the connection. */
export function endWithProblem(socket: Duplex, status: number, message: string): void {
  const body = `${JSON.stringify({ ...problemOf(new MeshError("bad_request", message)), status })}\n`;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
  // Not before it was written; the rest of what the client sends is of no interest.
  socket.once("finish", () => socket.destroy());
}

function reasonOf(code: string | undefined): { status: number; message: string } {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return { status: 431, message: "the headers are larger than is allowed here" };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: 408, message: "the headers did not arrive in time" };
    default:
      return { status: 400, message: "what arrived is not an HTTP/1.1 request" };
  }
}
