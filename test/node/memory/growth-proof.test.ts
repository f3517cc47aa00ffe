// Whose growth is proven, from what full collections leave and what was allocated in between.

import { beforeEach, expect, test } from "vitest";
import type { Amount } from "../../../node/memory/allocation-book.ts";
import { GrowthProof } from "../../../node/memory/growth-proof.ts";

interface Fake {
  readonly name: string;
  ended: boolean;
}

const one: Fake = { name: "one", ended: false };
const other: Fake = { name: "other", ended: false };
const amount = (heapBytes: number, bufferBytes = 0): Amount => ({ heapBytes, bufferBytes });
let proof: GrowthProof<Fake>;
let nowMs: number;

beforeEach(() => {
  one.ended = false;
  proof = new GrowthProof();
  nowMs = 1_000;
  proof.begin(amount(1_000, 1_000), nowMs);
});

function collected(live: Amount, ...allocated: [Fake | undefined, Amount][]): void {
  nowMs += 100;
  proof.collected(live, new Map(allocated), nowMs);
}

test("who alone allocates what stays must have kept it", () => {
  collected(amount(1_500, 1_000), [one, amount(600)], [other, amount(100)]);
  expect(proof.most()).toEqual({ session: one, bytes: 390, sinceMs: 1_000 });
});

test("who allocates most is not named while others together could have made what stays", () => {
  for (let round = 1; round < 50; round++) {
    collected(amount(1_000 + round * 100, 1_000), [one, amount(10_000)], [undefined, amount(100)]);
  }
  expect(proof.most()).toBeUndefined();
});

test("objects of others say nothing of buffers", () => {
  collected(amount(1_000, 1_400), [one, amount(50, 500)], [other, amount(100_000)]);
  expect(proof.most()).toEqual({ session: one, bytes: 400, sinceMs: 1_000 });
});

test("nobody must have kept more than it has allocated", () => {
  collected(amount(9_000, 1_000), [one, amount(300)]);
  expect(proof.most()?.bytes).toBe(300);
});

test("what is kept adds up, and counts from where it began", () => {
  collected(amount(1_000, 1_000), [one, amount(1_000)]);
  collected(amount(1_400, 1_000), [one, amount(1_000)]);
  collected(amount(1_900, 1_000), [one, amount(1_000)]);
  expect(proof.most()).toEqual({ session: one, bytes: 900, sinceMs: 1_100 });
});

test("what was given back counts no longer", () => {
  collected(amount(1_500, 1_000), [one, amount(500)]);
  collected(amount(1_000, 1_000), [one, amount(500)]);
  expect(proof.most()).toBeUndefined();
});

test("of two that keep all, the faster one is named; when it has ended, the other one", () => {
  collected(amount(1_900, 1_000), [one, amount(600)], [other, amount(300)]);
  expect(proof.most()?.session).toBe(one);
  one.ended = true;
  expect(proof.most()?.session).toBe(other);
  one.ended = false;
});

test("nothing is known before the beginning, nor after a new one", () => {
  const fresh = new GrowthProof<Fake>();
  fresh.collected(amount(5_000), new Map([[one, amount(5_000)]]), 1);
  expect(fresh.most()).toBeUndefined();
  collected(amount(1_500, 1_000), [one, amount(500)]);
  proof.begin(amount(1_500, 1_000), nowMs);
  expect(proof.most()).toBeUndefined();
});
