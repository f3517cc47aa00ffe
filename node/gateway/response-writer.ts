// Writes replies to HTTP clients. A reply that is whole goes out in one write; a stream is pulled at the pace of the client. The
// framing is the gateway's own: connection headers of sessions are dropped, lengths are checked against what is sent.

import { STATUS_CODES, type ServerResponse } from "node:http";
import type { SessionReply } from "#mesh";
import { MeshError, type HeaderList } from "#proto";
import { isHopByHop } from "../web/web.ts";

/** What Node writes to a socket without a buffer of its own, head included, is 16 KiB. */
const ONE_PIECE_BYTES_MAX = 8 * 1024;

/** Headers of the gateway's own for answers under way. Asked only once somebody has used it. */
const extras = new WeakMap<ServerResponse, readonly string[]>();
let anyExtras = false;

/** Whatever the answer will be, its head also has these, unless it has one of the name. `vary` is added in any case. */
export function addToHead(response: ServerResponse, headers: readonly string[]): void {
  anyExtras = true;
  extras.set(response, headers);
}

/** True when all was written; false when the head was written and `pumpBody` must follow. Throws when the head is not valid HTTP. */
export function writeReply(response: ServerResponse, method: string, reply: SessionReply, close: boolean): boolean {
  const { body, status } = reply;
  const bodiless = status === 204 || status === 304 || status === 205;
  if (body === null || typeof body === "string" || body instanceof Uint8Array || bodiless) {
    if (bodiless || body === null || (typeof body === "object" && !(body instanceof Uint8Array))) {
      // HEAD may declare the length that a GET would have.
      const declares = method === "HEAD" && !bodiless;
      const length = declares || status === 204 || status === 304 ? undefined : 0;
      writeHead(response, reply, headersOf(reply, length, declares, close));
      response.end();
      if (body instanceof ReadableStream) discard(body);
      return true;
    }
    const length = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
    writeHead(response, reply, headersOf(reply, length, false, close));
    if (typeof body === "string" || length > ONE_PIECE_BYTES_MAX) response.end(body);
    // Byte for byte, in one string with the head: two pieces cost some 4 us more.
    else response.end(Buffer.from(body.buffer, body.byteOffset, length).toString("latin1"), "latin1");
    return true;
  }
  writeHead(response, reply, headersOf(reply, undefined, true, close));
  if (method === "HEAD") {
    response.end();
    discard(body);
    return true;
  }
  // Clients of event streams wait for the head, which may come long before the first chunk.
  response.flushHeaders();
  return false;
}

/** How far a stream's reader waits for its client. */
export interface ClientPace {
  /** Settles when the client has taken what was written, or has gone. */
  drained(): Promise<void>;
  isGone(): boolean;
}

/** Rejects when the source fails or its length is not the declared one: the connection must then be destroyed, not ended. */
export async function pumpBody(
  response: ServerResponse,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  declaredBytes: number | undefined,
  pace: ClientPace,
): Promise<void> {
  let sent = 0;
  for (;;) {
    const step = await reader.read();
    if (pace.isGone()) return;
    if (step.done) break;
    // Session code may have put anything into its stream.
    const chunk: unknown = step.value;
    if (!(chunk instanceof Uint8Array)) throw new TypeError("the body of a Response must be a stream of Uint8Array");
    sent += chunk.byteLength;
    if (declaredBytes !== undefined && sent > declaredBytes) break;
    if (chunk.byteLength > 0 && !response.write(chunk)) await pace.drained();
    if (pace.isGone()) return;
  }
  if (declaredBytes !== undefined && sent !== declaredBytes) {
    throw new MeshError(
      "handler_failed",
      `a response of ${declaredBytes} bytes was declared, and another length was sent`,
    );
  }
  response.end();
}

export function declaredBytesOf(headers: HeaderList): number | undefined {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() === "content-length") return digits(headers[at + 1]);
  }
  return undefined;
}

function writeHead(response: ServerResponse, reply: SessionReply, headers: string[]): void {
  const extra = anyExtras ? extras.get(response) : undefined;
  if (extra !== undefined) addMissing(headers, extra);
  const reason = reply.statusText === "" ? (STATUS_CODES[reply.status] ?? "") : reply.statusText;
  response.writeHead(reply.status, reason, headers);
}

function addMissing(headers: string[], extra: readonly string[]): void {
  const has = new Set(headers.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()));
  for (let at = 0; at + 1 < extra.length; at += 2) {
    const name = extra[at] ?? "";
    if (name === "vary" || !has.has(name)) headers.push(name, extra[at + 1] ?? "");
  }
}

function headersOf(reply: SessionReply, length: number | undefined, keepDeclared: boolean, close: boolean): string[] {
  const list = reply.headers;
  const headers: string[] = [];
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = list[at] ?? "";
    const value = list[at + 1] ?? "";
    const lower = name.toLowerCase();
    if (lower === "content-length") {
      if (!keepDeclared || digits(value) === undefined) continue;
      // A 426 must say to what.
    } else if (isHopByHop(lower) && !(lower === "upgrade" && reply.status === 426)) {
      continue;
    }
    headers.push(name, value);
  }
  if (length !== undefined) headers.push("content-length", String(length));
  if (close) headers.push("connection", "close");
  return headers;
}

function digits(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

/** Nobody reads it any more. Its source may fail to stop; there is nobody left to tell. */
export function discard(body: ReadableStream<Uint8Array>): void {
  if (!body.locked) body.cancel().catch(() => undefined);
}
