// A session's own answer to a handshake, from a Response that `onConnect` threw: whole, since it travels in one frame.

import { ANSWER_BYTES_MAX, type ConnectAnswer, type SessionReply } from "#mesh";
import { MeshError } from "#proto";
import { replyOf } from "../web/web.ts";

/** A promise when the body is a stream. Throws, or rejects, `handler_failed` when it cannot be sent. */
export function connectAnswerOf(response: Response, kind: string): ConnectAnswer | Promise<ConnectAnswer> {
  const reply = replyOf(response, kind);
  if (reply.body instanceof ReadableStream) return read(reply, reply.body);
  const bytes = typeof reply.body === "string" ? Buffer.byteLength(reply.body) : (reply.body?.byteLength ?? 0);
  if (bytes > ANSWER_BYTES_MAX) throw tooLong();
  return { status: "answered", reply };
}

async function read(reply: SessionReply, source: ReadableStream<unknown>): Promise<ConnectAnswer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Left early, the loop cancels the stream.
  for await (const chunk of source) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError("the body of a Response must be a stream of Uint8Array");
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) throw tooLong();
    chunks.push(chunk);
  }
  return { status: "answered", reply: { ...reply, body: Buffer.concat(chunks) } };
}

function tooLong(): MeshError {
  return new MeshError("handler_failed", `the answer to a handshake may have ${ANSWER_BYTES_MAX} bytes`);
}
