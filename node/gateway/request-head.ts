// What the gateway reads from the head of a request before anybody else does: the canonical URL and how the body is framed. The
// URL must be the one a session's `new URL(request.url)` shows: a path that is routed one way and read another is a hole.

import type { IncomingMessage } from "node:http";
import { MeshError, type HeaderList } from "#proto";
import { addressOf, type Origin, type TrustedProxies } from "./trusted-proxies.ts";

export interface RequestHead {
  readonly method: string;
  /** Absolute and canonical. */
  readonly url: string;
  /** Path and query of `url`. */
  readonly target: string;
  /** As the client sent them. */
  readonly headers: HeaderList;
  /** Of the body: 0 for none, -1 when it is chunked. */
  readonly bodyBytes: number;
  /** Address of the client; "" when it is gone already. */
  readonly ip: string;
}

/** A longer target is a mistake or an attack; the parser's limit on all headers together is larger. */
const TARGET_LENGTH_MAX = 8_192;
/** Pairs of name and value. */
export const HEADER_COUNT_MAX = 100;

// A target that matches is left to the URL parser: it has dot segments (also as %2e), or characters that the parser rewrites.
const UNUSUAL = /[^\u0021\u0024-\u0026\u0028-\u003b\u003d\u003f-\u005b\u005d\u005f\u0061-\u007a\u007e]|\/\.|%2e/i;
const HOST = /^(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;

// Nearly all requests of a gateway name one host: its check and its prefix are done once.
let knownHost = "";
let knownProtocol: Origin["protocol"] = "http";
let knownBase = "";

/** Without `proxies` what headers say about them is only a header. Throws `bad_request`. */
export function readHead(request: IncomingMessage, proxies: TrustedProxies | undefined): RequestHead {
  const headers = request.rawHeaders;
  const target = request.url ?? "/";
  const method = request.method ?? "GET";
  let host = "localhost";
  let bodyBytes = 0;
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? "";
    // Three lengths to look at; every other header costs one comparison.
    switch (name.length) {
      case 4:
        if (name.toLowerCase() === "host") host = headers[at + 1] ?? "";
        break;
      case 14:
        if (name.toLowerCase() === "content-length") bodyBytes = Number(headers[at + 1]);
        break;
      case 17:
        if (name.toLowerCase() === "transfer-encoding") bodyBytes = -1;
        break;
    }
  }
  if (headers.length > HEADER_COUNT_MAX * 2) throw bad(`more than ${HEADER_COUNT_MAX} headers`);
  if (target.length > TARGET_LENGTH_MAX) throw bad(`the URL is longer than ${TARGET_LENGTH_MAX} characters`);
  if (Number.isNaN(bodyBytes)) throw bad("Content-Length is not a number");
  // The classes of the fetch standard know no such requests.
  if (method === "TRACE" || method === "CONNECT") throw bad(`${method} is not served`);
  const origin = proxies?.originOf(request);
  const protocol = origin?.protocol ?? "http";
  if (origin?.host !== undefined) host = origin.host;
  if (host !== knownHost || protocol !== knownProtocol) {
    if (!HOST.test(host)) throw bad("the Host header is not a host name with an optional port");
    knownHost = host;
    knownProtocol = protocol;
    knownBase = `${protocol}://${host}`;
  }
  const ip = origin?.ip ?? addressOf(request.socket);
  if (!UNUSUAL.test(target) && target.charCodeAt(0) === SLASH) {
    return { method, url: knownBase + target, target, headers, bodyBytes, ip };
  }
  const url = URL.parse(target.startsWith("/") ? knownBase + target : target);
  if (url === null || (url.protocol !== "http:" && url.protocol !== `${protocol}:`))
    throw bad(`"${target.slice(0, 80)}" is not a path that is served here`);
  url.protocol = protocol;
  url.hash = "";
  return { method, url: url.href, target: url.pathname + url.search, headers, bodyBytes, ip };
}

const SLASH = 47;

function bad(message: string): MeshError {
  return new MeshError("bad_request", message);
}
