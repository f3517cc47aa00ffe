import { expect, test } from "vitest";
import { Suspicion, type Sight } from "../../../node/watchdog/suspicion.ts";

const LOOK_MS = 40;
const BUDGET_MS = 1_000;
/** When a turn that began at 0 is looked into for the first time. */
const FIRST_MS = 80;

/** Looks until the turn is to be ended, and tells when that is; undefined: not within a minute. */
function endOf(budgetMs: number, at: (nowMs: number) => Omit<Sight, "nowMs">, everyMs = LOOK_MS): number | undefined {
  const suspicion = new Suspicion(budgetMs, 0, { nowMs: FIRST_MS, ...at(FIRST_MS) });
  for (let nowMs = FIRST_MS; nowMs < 60_000;) {
    const leftMs = suspicion.look({ nowMs, ...at(nowMs) });
    if (leftMs <= 0) return nowMs;
    nowMs += Math.min(everyMs, leftMs);
  }
  return undefined;
}

test("the end of a turn begins while three tenths of the budget are left", () => {
  expect(endOf(BUDGET_MS, (nowMs) => ({ cpuMs: nowMs, asleep: false }))).toBe(700);
});

test("a large budget is used but for 300 ms", () => {
  expect(endOf(10_000, (nowMs) => ({ cpuMs: nowMs, asleep: false }))).toBe(9_700);
});

test("a turn that blocks its thread without working is ended as early", () => {
  expect(endOf(BUDGET_MS, () => ({ cpuMs: 0, asleep: true }))).toBe(700);
});

test("a turn that gets half of a CPU is ended later", () => {
  expect(endOf(BUDGET_MS, (nowMs) => ({ cpuMs: nowMs / 2, asleep: false }))).toBeCloseTo(FIRST_MS + 1_100);
});

test("CPU time that the kernel tells in lumps counts in full", () => {
  const lumps = (nowMs: number) => ({ cpuMs: Math.floor((nowMs + 7) / 30) * 30, asleep: false });
  expect(endOf(BUDGET_MS, lumps, 10)).toBeLessThanOrEqual(700);
});

test("a turn that gets no CPU is ended half a second after its budget", () => {
  expect(endOf(BUDGET_MS, () => ({ cpuMs: 0, asleep: false }))).toBe(FIRST_MS + 1_500);
});

test("CPU time of helper threads does not make a turn older than it is", () => {
  expect(endOf(BUDGET_MS, (nowMs) => ({ cpuMs: nowMs * 4, asleep: false }))).toBe(700);
});

test("a turn is no older for a machine that stood still", () => {
  const suspicion = new Suspicion(BUDGET_MS, 0, { nowMs: FIRST_MS, cpuMs: 0, asleep: true });
  expect(suspicion.look({ nowMs: 60_000, cpuMs: 1, asleep: true })).toBeGreaterThan(0);
  expect(suspicion.look({ nowMs: 60_040, cpuMs: 41, asleep: false })).toBeGreaterThan(0);
});

test("what the watchdog itself does on the thread is not held against the turn", () => {
  const suspicion = new Suspicion(BUDGET_MS, 0, { nowMs: 100, cpuMs: 0, asleep: false });
  expect(suspicion.look({ nowMs: 600, cpuMs: 200, asleep: false })).toBe(350);
  suspicion.skip({ nowMs: 700, cpuMs: 300, asleep: false });
  expect(suspicion.look({ nowMs: 710, cpuMs: 310, asleep: false })).toBe(340);
});

test("a turn that has worked for half of its budget is never ended", () => {
  for (let movedMs = -2_000; movedMs <= 0; movedMs += 100) {
    const suspicion = new Suspicion(BUDGET_MS, movedMs, { nowMs: 0, cpuMs: 0, asleep: false });
    for (let nowMs = 0; nowMs <= BUDGET_MS / 2; nowMs += 10) {
      expect(suspicion.look({ nowMs, cpuMs: nowMs, asleep: false })).toBeGreaterThan(0);
    }
  }
});
