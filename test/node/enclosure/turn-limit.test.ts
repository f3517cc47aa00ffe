import { expect, test } from "vitest";
import { LOOK_MS, TurnLimit } from "../../../node/enclosure/turn-limit.ts";

const BUDGET_MS = 1_000;

/** Looks at its pace until it has seen enough, and says when that was. */
function watch(progress: (nowMs: number) => number, cpu: (nowMs: number) => number, pauses: readonly number[] = []) {
  const limit = new TurnLimit(BUDGET_MS);
  let nowMs = 0;
  for (let look = 0; look < 100; look++) {
    const lastedMs = limit.look({ progress: progress(nowMs), nowMs, cpuMs: cpu(nowMs) });
    if (lastedMs !== undefined) return { nowMs, lastedMs };
    nowMs += LOOK_MS + (pauses[look] ?? 0);
  }
  return undefined;
}

test("a turn that moves is never too long", () => {
  expect(
    watch(
      (nowMs) => 1 + Math.floor(nowMs / 1_000),
      (nowMs) => nowMs,
    ),
  ).toBeUndefined();
});

test("a turn that stands still and computes is too long one look after its budget", () => {
  expect(
    watch(
      () => 1,
      (nowMs) => nowMs,
    ),
  ).toEqual({ nowMs: 1_250, lastedMs: 1_250 });
});

test("one that gets no CPU has half a second more", () => {
  expect(
    watch(
      () => 1,
      () => 0,
    ),
  ).toEqual({ nowMs: 1_750, lastedMs: 1_750 });
});

test("what has not begun is not watched", () => {
  expect(
    watch(
      () => 0,
      (nowMs) => nowMs,
    ),
  ).toBeUndefined();
});

test("time in which nobody looked does not count", () => {
  expect(
    watch(
      () => 1,
      () => 0,
      [0, 60_000],
    ),
  ).toEqual({ nowMs: 61_500, lastedMs: 1_750 });
});
