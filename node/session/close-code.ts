// How session code may close a socket: the codes of RFC 6455 and its registry that may be sent, as `ws` has them.

/** The protocol's limit for a close reason, in UTF-8 bytes. */
const REASON_BYTES_MAX = 123;

/** Throws RangeError or TypeError that say what is allowed. */
export function checkClose(code: unknown, reason: unknown): void {
  if (!isSendable(code)) {
    throw new RangeError(`a socket can be closed with 1000 to 1003, 1007 to 1014 or 3000 to 4999, not ${String(code)}`);
  }
  if (typeof reason !== "string") throw new TypeError(`a close reason is a string, not a ${typeof reason}`);
  // A UTF-16 unit is at most 3 bytes of UTF-8; only a string that could be too long is worth counting.
  if (reason.length > REASON_BYTES_MAX / 3 && Buffer.byteLength(reason) > REASON_BYTES_MAX) {
    throw new RangeError(`a close reason has at most ${REASON_BYTES_MAX} bytes of UTF-8`);
  }
}

/** 1004 is reserved; 1005, 1006 and 1015 say what happened to a socket and are never sent. */
function isSendable(code: unknown): boolean {
  if (typeof code !== "number" || !Number.isInteger(code)) return false;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
