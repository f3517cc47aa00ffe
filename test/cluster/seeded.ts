// Random draws that a seed repeats.

export interface Draws {
  /** In [0, 1). */
  next(): number;
  /** One of the list, which must not be empty. */
  pick<T>(from: readonly T[]): T;
}

/** Mulberry32: 32 bits of state are plenty for choosing names and victims. */
export function seeded(seed: number): Draws {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, pick: <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T };
}
