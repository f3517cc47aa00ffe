import fc from "fast-check";
import { unicode } from "../unicode.ts";
import { describe, expect, test } from "vitest";
import { PARTITIONS, hash, partitionOf } from "#placement";

// Computed with another implementation in another language: whoever writes a client checks theirs against these.
const vectors: [key: string, hash: number, partition: number][] = [
  ["", 2872998923, 15371],
  ["a", 444641715, 12723],
  ["chat/lobby", 1042493774, 12622],
  ["counter/alice", 1468046110, 6942],
  ["chat/lobby-1", 3926884861, 509],
  ["cart/0190f5a2-7c3e-7d61-b5a4-2f1c9b8e0d11", 3694237812, 6260],
  ["chat/café", 2159582919, 7879],
  ["chat/日本語", 2963134424, 6104],
  ["chat/😀", 4232038733, 2381],
  ["n1/0", 629665496, 11992],
  [`a/${"x".repeat(256)}`, 3710571188, 4788],
];

test.each(vectors)("%s has a hash and a partition that any implementation finds", (key, expected, partition) => {
  expect(hash(key)).toBe(expected);
  expect(partitionOf(key)).toBe(partition);
});

/** FNV-1a over bytes with big integers, and murmur3's finish: the definition, without a fast path. */
function slowHash(text: string): number {
  let state = 0x811c9dc5n;
  for (const byte of Buffer.from(text)) state = ((state ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  state = ((state ^ (state >> 16n)) * 0x85ebca6bn) & 0xffffffffn;
  state = ((state ^ (state >> 13n)) * 0xc2b2ae35n) & 0xffffffffn;
  return Number(state ^ (state >> 16n));
}

test("the pass over ASCII and the pass over UTF-8 bytes find the same hash", () => {
  const keys = fc.oneof(
    fc.string({ unit: fc.nat(0x7f).map((code) => String.fromCharCode(code)) }),
    fc.string({ unit: unicode }),
  );
  fc.assert(
    fc.property(keys, (key) => {
      expect(hash(key)).toBe(slowHash(key));
      expect(hash(key)).toBe(hash(Buffer.from(key).toString()));
    }),
  );
});

test("a partition is a whole number below the number of partitions", () => {
  fc.assert(
    fc.property(fc.string({ unit: unicode }), (key) => {
      const partition = partitionOf(key);
      expect(Number.isInteger(partition) && partition >= 0 && partition < PARTITIONS).toBe(true);
    }),
  );
});

describe("names of every usual shape spread evenly over the partitions", () => {
  const shapes: Record<string, (at: number) => string> = {
    counted: (at) => `chat/${at}`,
    "counted with a prefix and zeros": (at) => `counter/user-${String(at).padStart(8, "0")}`,
    "hexadecimal ids": (at) => `cart/${(Math.imul(at, 0x9e3779b1) >>> 0).toString(16)}${at.toString(16)}`,
    "mail addresses": (at) => `inbox/user${at}@example.com`,
    "not ASCII": (at) => `chat/комната-${at}`,
  };

  test.each(Object.entries(shapes))("%s", (_, name) => {
    const perPartition = 16;
    const counts = new Uint32Array(PARTITIONS);
    for (let at = 0; at < PARTITIONS * perPartition; at++) counts[partitionOf(name(at))]!++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - perPartition) ** 2 / perPartition, 0);
    // Chi-square with k degrees of freedom has mean k and deviation sqrt(2k): six deviations above is no accident.
    const degrees = PARTITIONS - 1;
    expect(chiSquare).toBeLessThan(degrees + 6 * Math.sqrt(2 * degrees));
    expect(Math.max(...counts)).toBeLessThan(perPartition * 3.5);
  });
});
