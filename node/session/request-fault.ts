// Faults that are the client's, not the session's: they answer its request or handshake, or close its socket, and end nothing. What becomes of
// all else that escapes from session code, the session's class says.

import { MeshError, type ErrorCode } from "#proto";

/** Codes that blame the client. Session code may throw them on purpose; a body that is too large or cut off throws them by itself. */
const BLAME_CLIENT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "bad_request",
  "unauthorized",
  "forbidden",
  "not_found",
  "method_not_allowed",
  "body_too_large",
  "cancelled",
]);

/** Node wraps an abort reason once or twice; deeper chains are somebody else's error. */
const CAUSES_MAX = 4;

/** Reasons that we gave to `request.signal`, with the error that the caller got. */
const abortReasons = new WeakMap<object, MeshError>();

/** What `request.signal` is aborted with: an AbortError as of any web API, or a TimeoutError. */
export function abortReasonOf(error: MeshError): DOMException {
  const name = error.code === "timeout" ? "TimeoutError" : "AbortError";
  const reason = new DOMException(error.message, name);
  abortReasons.set(reason, error);
  return reason;
}

/** The error for the caller when `thrown` is the request's own fault. */
export function requestFaultOf(thrown: unknown): MeshError | undefined {
  try {
    return faultIn(thrown);
  } catch {
    // A getter of the thrown value threw: nothing that a request brought.
    return undefined;
  }
}

function faultIn(thrown: unknown): MeshError | undefined {
  let error = thrown;
  for (let depth = 0; depth < CAUSES_MAX && typeof error === "object" && error !== null; depth++) {
    const aborted = abortReasons.get(error);
    if (aborted !== undefined) return aborted;
    if (error instanceof MeshError && BLAME_CLIENT.has(error.code)) return error;
    error = "cause" in error ? error.cause : undefined;
  }
  return undefined;
}
