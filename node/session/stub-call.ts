// What a caller gave to a stub's `fetch`, as a call. It takes what the global `fetch` takes. A body that is whole travels whole, with its length: it can be
// sent again when nothing of it was used, which a stream cannot.

import { encodeClaims, type HeaderList, type SessionId } from "#proto";
import { SessionCall } from "#mesh";
import { copyBytes, flatten, hasWholeBody } from "../web/web.ts";
import type { StubOptions } from "./stub.ts";
import { visitor } from "./visiting.ts";

/** What a path alone is relative to. */
const BASE_URL = "http://mesh";
/** To the head of the response; the session's own `requestTimeoutMs` may be shorter. */
const STUB_TIMEOUT_MS = 30_000;
/** Node asks for this where a body is a stream. */
const STREAMS = { duplex: "half" } as const;

export interface StubCall {
  readonly call: SessionCall;
  readonly signal: AbortSignal | null;
}

/** Only bodies that have to be encoded, forms and blobs, are waited for. */
export function callOf(
  id: SessionId,
  { onlyIfActive = false, claims: given }: StubOptions,
  input: string | URL | Request,
  init: RequestInit | undefined,
): StubCall | Promise<StubCall> {
  // The application's own `fetch` hands a client's request on; a session asks for itself.
  const ip = visitor()?.ip ?? "";
  const claims = given === undefined ? undefined : encodeClaims(given);
  const base = { id, onlyIfActive, timeoutMs: STUB_TIMEOUT_MS, ip, claims };
  const plain = input instanceof Request ? undefined : plainBody(init?.body);
  if (plain === undefined) {
    // Forms, blobs and streams bring a content type and an encoding of their own: the standard class knows them all.
    const request =
      input instanceof Request && init === undefined
        ? input
        : new Request(input instanceof Request ? input : new URL(input, BASE_URL), { ...init, ...STREAMS });
    const { method, url, headers, signal } = request;
    if (!hasWholeBody(request)) {
      return { call: new SessionCall({ ...base, method, url, headers: flatten(headers), body: request.body }), signal };
    }
    return request.bytes().then((body) => ({
      call: new SessionCall({ ...base, method, url, headers: withLength(headers, body), body }),
      signal,
    }));
  }
  const headers = new Headers(init?.headers);
  if (typeof init?.body === "string" && !headers.has("content-type")) {
    headers.set("content-type", "text/plain;charset=UTF-8");
  }
  const method = (init?.method ?? "GET").toUpperCase();
  if (plain.body !== null && (method === "GET" || method === "HEAD")) {
    throw new TypeError(`a ${method} request cannot have a body`);
  }
  const url = new URL(input instanceof Request ? input.url : input, BASE_URL).href;
  return {
    call: new SessionCall({ ...base, method, url, headers: withLength(headers, plain.body), body: plain.body }),
    signal: init?.signal ?? null,
  };
}

/** The caller may change what it gave as soon as it goes on. */
function plainBody(body: unknown): { body: Uint8Array | null } | undefined {
  if (body === undefined || body === null) return { body: null };
  if (typeof body === "string") return { body: Buffer.from(body) };
  if (body instanceof ArrayBuffer) return { body: new Uint8Array(body.slice(0)) };
  return body instanceof Uint8Array ? { body: copyBytes(body) } : undefined;
}

function withLength(headers: Headers, body: Uint8Array | null): HeaderList {
  const list = flatten(headers);
  if (body === null) return list;
  const at = list.findIndex((text, place) => place % 2 === 0 && text === "content-length");
  if (at >= 0) list.splice(at, 2);
  list.push("content-length", String(body.byteLength));
  return list;
}
