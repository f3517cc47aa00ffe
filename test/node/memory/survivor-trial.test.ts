// One trial with the real profile of V8: sessions are objects here, and their turns are what lies between two borders.

import { getHeapStatistics } from "node:v8";
import { expect, test } from "vitest";
import { AllocationBook } from "../../../node/memory/allocation-book.ts";
import { SurvivorTrial } from "../../../node/memory/survivor-trial.ts";

const RECORDS = 4_000;

interface Fake {
  readonly name: string;
}

function start(suspects: readonly Fake[]) {
  const book = new AllocationBook<Fake>(() => {
    const statistics = getHeapStatistics();
    return {
      usedBytes: statistics.used_heap_size,
      allocatedBytes: statistics.total_allocated_bytes,
      bufferBytes: statistics.external_memory,
    };
  });
  let nowMs = 0;
  const trial = new SurvivorTrial(suspects, book, () => nowMs);
  return {
    book,
    trial,
    turn(session: Fake, work: () => void): void {
      trial.switchTo(session);
      work();
      trial.switchTo(undefined);
      nowMs += 10;
    },
    finish: () => trial.finish(() => getHeapStatistics().used_heap_size),
  };
}

function records(): object[] {
  return Array.from({ length: RECORDS }, (_, at) => ({ at, text: `${Math.random()}` }));
}

test("the one that keeps all is told from one that makes more and keeps nothing", () => {
  const keeping = { name: "keeping" };
  const wasting = { name: "wasting" };
  const { turn, finish } = start([keeping, wasting]);
  const kept: object[][] = [];
  const before = getHeapStatistics().used_heap_size;
  for (let round = 0; round < 20; round++) {
    turn(keeping, () => kept.push(records()));
    turn(wasting, () => [records(), records(), records()].length);
  }
  const trial = finish();
  const grown = getHeapStatistics().used_heap_size - before;
  const bytes = trial.kept.get(keeping) ?? 0;
  expect(kept).toHaveLength(20);
  expect(bytes).toBeGreaterThan(grown / 2);
  expect(trial.kept.get(wasting) ?? 0).toBeLessThan(bytes / 5);
});

test("what others keep is not a suspect's", () => {
  const suspect = { name: "suspect" };
  const other = { name: "other" };
  const { turn, finish } = start([suspect]);
  const kept: object[][] = [];
  for (let round = 0; round < 10; round++) {
    turn(suspect, () => records().length);
    turn(other, () => kept.push(records()));
  }
  const trial = finish();
  expect(kept).toHaveLength(10);
  expect(trial.kept.get(suspect) ?? 0).toBeLessThan(200_000);
  expect(trial.kept.has(other)).toBe(false);
});

test("too few turns, or too little in them, tell nothing", () => {
  const rare = { name: "rare" };
  const small = { name: "small" };
  const { turn, finish } = start([rare, small]);
  const kept: unknown[] = [];
  turn(rare, () => kept.push(records()));
  for (let round = 0; round < 8; round++) turn(small, () => kept.push({}));
  expect(finish().kept.size).toBe(0);
});

test("the book goes on, and marks are not in it", () => {
  const suspect = { name: "suspect" };
  const { book, turn, finish } = start([suspect]);
  for (let round = 0; round < 8; round++) turn(suspect, () => records().length);
  const amounts = book.take();
  expect(amounts.get(suspect)?.heapBytes).toBeGreaterThan(8 * RECORDS * 20);
  // 16 marks are 800 kB.
  expect(amounts.get(undefined)?.heapBytes ?? 0).toBeLessThan(400_000);
  finish();
});
