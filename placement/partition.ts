// The partition of a session: a hash that every member computes alike, in any process and any language.
// FNV-1a over the UTF-8 bytes of `kind/name`, finished with murmur3's avalanche so that the low bits are even.

export const PARTITIONS = 16_384;

/** 0 <= partition < PARTITIONS. */
export function partitionOf(key: string): number {
  return hash(key) & (PARTITIONS - 1);
}

/** Unsigned 32-bit hash of the UTF-8 bytes of `text`. */
export function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // Nearly all keys are ASCII; the first unit that is not hands over to a pass over the real bytes.
    if (unit > 0x7f) return hashBytes(Buffer.from(text));
    state = Math.imul(state ^ unit, 0x01000193);
  }
  return avalanche(state);
}

function hashBytes(bytes: Uint8Array): number {
  let state = 0x811c9dc5;
  for (const byte of bytes) state = Math.imul(state ^ byte, 0x01000193);
  return avalanche(state);
}

/** murmur3's fmix32: every input bit changes every output bit with probability one half. */
export function avalanche(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
