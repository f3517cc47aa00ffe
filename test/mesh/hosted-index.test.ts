// The index of hosted sessions against a plain list of them.

import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSessionKey, type Fence, type SessionKey } from "#proto";
import { partitionOf } from "#placement";
import { HostedIndex } from "../../mesh/hosted-index.ts";
import { PartitionSet, decodePartitions, encodePartitions } from "../../mesh/partition-set.ts";

/** Few, so that most steps meet a name that lives; several share a partition. */
const KEYS = Array.from({ length: 40_000 }, (_, at) => parseSessionKey(`counter/s${at}`).key)
  .filter((key) => partitionOf(key) < 6)
  .slice(0, 6);

/** What the index tells of these partitions, in an order of its own. */
function told(index: HostedIndex, asked: readonly number[]): string[] {
  return index
    .in(asked)
    .map(({ key, fence }) => `${key} ${fence.epoch}.${fence.claim}`)
    .toSorted();
}

test("tells of a set of partitions exactly what lives there after each start and each end", () => {
  expect(new Set(KEYS.map(partitionOf)).size).toBeLessThan(KEYS.length);
  const step = fc.record({
    key: fc.constantFrom(...KEYS),
    what: fc.constantFrom("start", "end", "end by a copy of the token", "end an earlier life again"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), fc.subarray([0, 1, 2, 3, 4, 5]), (steps, some) => {
      const index = new HostedIndex();
      const live = new Map<SessionKey, Fence>();
      const ended: (readonly [SessionKey, Fence])[] = [];
      let claim = 0;
      for (const { key, what } of steps) {
        const fence = live.get(key);
        if (what === "end an earlier life again") {
          index.ended(key, { epoch: 0, claim: 1 });
          for (const [name, token] of ended) index.ended(name, token);
        } else if (fence === undefined) {
          live.set(key, index.activated(key, partitionOf(key), { epoch: 1, claim: ++claim }));
        } else if (what !== "start") {
          live.delete(key);
          index.ended(key, what === "end" ? fence : { epoch: fence.epoch, claim: fence.claim });
          ended.push([key, fence]);
        }
        for (const asked of [[0, 1, 2, 3, 4, 5], some]) {
          const there = [...live].filter(([name]) => asked.includes(partitionOf(name)));
          expect(told(index, asked)).toEqual(there.map(([name, of]) => `${name} ${of.epoch}.${of.claim}`).toSorted());
        }
      }
    }),
  );
});

test("a set of partitions lists what was added, in order", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(16_383), { maxLength: 50 }), (added) => {
      const set = new PartitionSet();
      for (const partition of added) set.add(partition);
      expect([...set]).toEqual(added.toSorted((a, b) => a - b));
    }),
  );
});

test("a set of partitions arrives as it was sent, and is never longer than its bitmap", () => {
  const sets = fc.oneof(
    fc.uniqueArray(fc.nat(16_383), { maxLength: 50 }),
    fc.integer({ min: 1_000, max: 1_050 }).map((size) => Array.from({ length: size }, (_, at) => at * 15)),
  );
  fc.assert(
    fc.property(sets, (added) => {
      const set = new PartitionSet();
      for (const partition of added) set.add(partition);
      const bytes = encodePartitions(set);
      expect(bytes.length).toBe(Math.min(2 * added.length, 2_048));
      expect([...decodePartitions(bytes)]).toEqual(set.members);
    }),
  );
});

test("what is no set of partitions is refused", () => {
  for (const bytes of [[1], [0, 64], [255, 255, 0, 0]]) {
    expect(() => decodePartitions(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: "bad_frame" }));
  }
  expect(() => decodePartitions(new Uint8Array(2_049))).toThrow(expect.objectContaining({ code: "bad_frame" }));
});
