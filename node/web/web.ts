// Facade of node/web/: web-standard Request and Response that cost next to nothing until somebody needs the real ones. Undici's
// classes build streams, header maps and abort signals for every object, which triples the CPU of a small request.

export { requestOf, type RequestParts } from "./lazy-request.ts";
export { acceptedCallOf, acceptUpgrade, flatten } from "./light-response.ts";
export { installWebClasses } from "./install.ts";
export { copyBytes, tooLarge } from "./body.ts";
export { isHopByHop } from "./hop-by-hop.ts";
export { isResponse, replyOf, responseOf } from "./reply.ts";
export { hasWholeBody } from "./whole-body.ts";
