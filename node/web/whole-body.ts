// Bodies that are whole before they are sent, though a Request shows a stream of them: strings, bytes, forms, parameters, blobs. They have a
// length, and can be sent again.

/** Above this a body is streamed as it is; also what a class takes by default. Too large: a caller's copy of a file fills its worker. */
const WHOLE_BYTES_MAX = 32 * 1024 * 1024;

/** Requests that were made of such a body by the global constructor. */
const wholes = new WeakSet<object>();

export function isWhole(body: unknown): boolean {
  return sizeOf(body) <= WHOLE_BYTES_MAX;
}

/** What the constructor of Request was given, and what it made. */
export function noteWhole(request: object, input: unknown, init: unknown): void {
  const body: unknown = typeof init === "object" && init !== null && "body" in init ? init.body : undefined;
  const given = body ?? undefined;
  if (given === undefined ? typeof input === "object" && input !== null && wholes.has(input) : isWhole(given)) {
    wholes.add(request);
  }
}

/** True: reading it to its end waits for nobody. */
export function hasWholeBody(request: Request): boolean {
  return wholes.has(request) && !request.bodyUsed;
}

/** About: what separates the fields of a form is left out. Infinity: nobody knows. */
function sizeOf(body: unknown): number {
  if (typeof body === "string") return body.length;
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return body.byteLength;
  if (body instanceof URLSearchParams) return 0;
  if (body instanceof Blob) return body.size;
  if (!(body instanceof FormData)) return Infinity;
  let size = 0;
  for (const [, value] of body) size += typeof value === "string" ? value.length : value.size;
  return size;
}
