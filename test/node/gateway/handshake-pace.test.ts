import { beforeEach, describe, expect, test } from "vitest";
import { HandshakePace } from "../../../node/gateway/handshake-pace.ts";

/** As the source has them. */
const SHARE_MAX = 32;
const WAITING_MAX = 2_048;

let nowMs = 0;
let timer: { readonly dueMs: number; readonly fn: () => void } | undefined;
let begun: number[] = [];
let pace: HandshakePace;

const clock = {
  now: () => nowMs,
  timer(ms: number, fn: () => void) {
    expect(timer, "two timers").toBeUndefined();
    const mine = { dueMs: nowMs + ms, fn };
    timer = mine;
    return () => {
      if (timer === mine) timer = undefined;
    };
  },
};

beforeEach(() => {
  nowMs = 0;
  timer = undefined;
  begun = [];
  pace = new HandshakePace(clock, () => 0.5);
});

function come(count: number, destroyed = false): void {
  for (let left = count; left > 0; left--) pace.enter({ socket: { destroyed }, begin: () => void begun.push(nowMs) });
}

/** The timer fires, so late. @returns how many were let in */
function tick(lateMs = 0): number {
  const before = begun.length;
  const { dueMs, fn } = timer ?? { dueMs: 0, fn: () => expect.fail("no timer") };
  nowMs = dueMs + lateMs;
  timer = undefined;
  fn();
  return begun.length - before;
}

describe("a worker with time to spare", () => {
  test("lets those who come one by one in at once, and then has no timer", () => {
    for (let at = 0; at < 100; at++) {
      come(1);
      expect(begun).toHaveLength(at + 1);
      while (timer !== undefined) tick();
    }
  });

  test("lets a crowd in by shares, in order, and all of it", () => {
    come(100);
    expect(begun).toHaveLength(SHARE_MAX);
    expect([tick(), tick(), tick()]).toEqual([SHARE_MAX, SHARE_MAX, 100 - 3 * SHARE_MAX]);
    while (timer !== undefined) tick();
    expect(begun).toHaveLength(100);
  });
});

describe("a worker whose timers are late", () => {
  test("halves the share each time, down to one, and goes up again by one", () => {
    come(1_000);
    expect([20, 20, 20, 20, 20, 20, 20].map((lateMs) => tick(lateMs))).toEqual([16, 8, 4, 2, 1, 1, 1]);
    expect([0, 0, 0, 20].map((lateMs) => tick(lateMs))).toEqual([2, 3, 4, 2]);
  });

  test("has its whole share back after a tick in which nobody came", () => {
    come(SHARE_MAX + 1);
    expect(tick(50)).toBe(1);
    tick();
    tick();
    come(SHARE_MAX);
    expect(begun).toHaveLength(2 * SHARE_MAX + 1);
  });
});

test("those who have gone meanwhile cost nobody's turn", () => {
  come(SHARE_MAX);
  come(500, true);
  come(1);
  expect(tick()).toBe(1);
});

test("who comes when too many wait is told when to come again, and who waits stays", () => {
  come(SHARE_MAX + WAITING_MAX);
  const refused = expect.objectContaining({ code: "overloaded", retryAfterMs: 3_000 });
  expect(() => come(1)).toThrow(refused);
  pace.flush();
  expect(begun).toHaveLength(SHARE_MAX + WAITING_MAX);
  expect(timer).toBeUndefined();
});
