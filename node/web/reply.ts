// Between the Response of application code and the reply that travels through the mesh.

import type { SessionReply } from "#mesh";
import { MeshError } from "#proto";
import { isDecoded } from "./decoded.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import { flatten, headersFrom, LightResponse } from "./light-response.ts";
import { NativeResponse } from "./native.ts";

/**
 * What `fetch()` returned, as a reply. Throws `handler_failed` when it is not a Response that can be sent.
 * @param kind names the session kind in that error
 */
export function replyOf(response: unknown, kind = "the session"): SessionReply {
  if (LightResponse.isLight(response)) {
    const reply = response.bodyUsed ? undefined : LightResponse.replyOf(response);
    if (reply !== undefined) return reply;
  } else if (!isResponse(response)) {
    throw unusable(kind, `it returned ${nameOf(response)}`);
  }
  if (response.bodyUsed || response.body?.locked === true)
    throw unusable(kind, "the body of this one was read already");
  if (response.status < 200 || response.status > 599) throw unusable(kind, `this one has status ${response.status}`);
  const headers = flatten(response.headers);
  return {
    status: response.status,
    statusText: response.statusText,
    headers: isDecoded(response) ? withoutCoding(headers) : headers,
    body: response.body,
  };
}

function withoutCoding(headers: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? "";
    if (name !== "content-encoding" && name !== "content-length") kept.push(name, headers[at + 1] ?? "");
  }
  return kept;
}

/** A reply as a Response, for the callers of stubs. An answer to HEAD has the length of the body that it lacks. */
export function responseOf(reply: SessionReply, method = "GET"): Response {
  const { status, statusText, body } = reply;
  const headers: string[] = [];
  for (let at = 0; at + 1 < reply.headers.length; at += 2) {
    const name = (reply.headers[at] ?? "").toLowerCase();
    if (!isHopByHop(name)) headers.push(name, reply.headers[at + 1] ?? "");
  }
  if (status === 204 || status === 205 || status === 304 || method === "HEAD") {
    if (body instanceof ReadableStream) body.cancel().catch(() => undefined);
    else if (
      method === "HEAD" &&
      body !== null &&
      !headers.some((text, at) => at % 2 === 0 && text === "content-length")
    ) {
      headers.push("content-length", String(Buffer.byteLength(body)));
    }
    return LightResponse.fromReply(status, statusText, headers, null);
  }
  if (body === null || typeof body === "string" || body instanceof Uint8Array) {
    return LightResponse.fromReply(status, statusText, headers, body);
  }
  return new NativeResponse(body, { status, statusText, headers: headersFrom(headers) });
}

/**
 * Also responses of another copy of the fetch classes, such as the npm package undici: the same shape under another identity. Never throws,
 * whatever a proxy or a getter does.
 */
export function isResponse(value: unknown): value is Response {
  if (typeof value !== "object" || value === null) return false;
  try {
    return value instanceof NativeResponse || Object.prototype.toString.call(value) === "[object Response]";
  } catch {
    return false;
  }
}

function nameOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value === "function" ? "a function" : String(value);
  const name: unknown = value.constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object" ? `a value of ${name}` : "a plain object";
}

function unusable(kind: string, why: string): MeshError {
  return new MeshError("handler_failed", `fetch() of ${kind} must return a Response; ${why}`);
}
