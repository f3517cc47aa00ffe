// The headers that speak of one connection and not of the message (RFC 9110, 7.6.1). They are neither shown to application
// code nor passed on. `upgrade` is one of them, but a WebSocket request is known by it: readers of requests keep that one value.

const names: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** @param name in lower case */
export function isHopByHop(name: string): boolean {
  return names.has(name);
}
