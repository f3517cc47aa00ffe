// Who keeps what it makes, by made-up trials.

import { beforeEach, expect, test } from "vitest";
import { Survivors } from "../../../node/memory/survivors.ts";

const MIB = 1024 * 1024;
const TRIAL_MS = 1_000;
const PAUSE_MS = 1_000;

interface Fake {
  readonly name: string;
  ended: boolean;
}

let one: Fake;
let other: Fake;
let survivors: Survivors<Fake>;
let nowMs: number;

beforeEach(() => {
  one = { name: "one", ended: false };
  other = { name: "other", ended: false };
  survivors = new Survivors();
  nowMs = 0;
});

function trial(liveMib: number, ...kept: [Fake, number][]): void {
  nowMs += PAUSE_MS;
  const beganMs = nowMs;
  nowMs += TRIAL_MS;
  survivors.add({
    kept: new Map(kept.map(([session, mib]) => [session, mib * MIB])),
    beganMs,
    endedMs: nowMs,
    liveBytes: liveMib * MIB,
  });
}

test("the one that keeps as much as the process grows by is known from the second trial on", () => {
  trial(100, [one, 10], [other, 1]);
  expect(survivors.most()).toBeUndefined();
  trial(120, [one, 10], [other, 1]);
  // In the pause it went on as in the trial.
  expect(survivors.most()).toEqual({ session: one, bytes: 20 * MIB, sinceMs: TRIAL_MS + PAUSE_MS });
  trial(140, [one, 10]);
  expect(survivors.most()?.bytes).toBe(40 * MIB);
});

test("one that keeps what it makes and gives up as much is not blamed while nothing grows", () => {
  for (let round = 0; round < 10; round++) trial(round % 2 === 0 ? 100 : 99, [one, 10]);
  expect(survivors.most()).toBeUndefined();
});

test("one that keeps less than half of what the process grows by is not", () => {
  for (let round = 0; round < 10; round++) trial(100 + round * 20, [one, 4], [other, 3]);
  expect(survivors.most()).toBeUndefined();
});

test("nobody has kept more than the process has grown by", () => {
  trial(100, [one, 50]);
  trial(110, [one, 50]);
  expect(survivors.most()?.bytes).toBe(10 * MIB);
});

test("who is not suspected any more, or has ended, is forgotten", () => {
  trial(100, [one, 10], [other, 8]);
  trial(120, [one, 10], [other, 8]);
  one.ended = true;
  expect(survivors.most()?.session).toBe(other);
  trial(140, [one, 10]);
  expect(survivors.most()).toBeUndefined();
});

test("after forgetting it takes two trials again", () => {
  trial(100, [one, 10]);
  trial(120, [one, 10]);
  survivors.forget();
  expect(survivors.most()).toBeUndefined();
  trial(140, [one, 10]);
  expect(survivors.most()).toBeUndefined();
});
