import { beforeEach, describe, expect, test } from "vitest";
import { HandshakePace } from "../../../node/gateway/handshake-pace.ts";

/** As the source has them. */
const SHARE_MAX = 32;
const WAITING_MAX = 2_048;
const SHARE_ALONE = 512;
const ALONE_MS = 200;

let nowMs = 0;
let timer: { readonly dueMs: number; readonly fn: () => void } | undefined;
let begun: number[] = [];
let pace: HandshakePace;
/** What the worker did for others. */
let others = 0;
/** Somebody asks for something between any two ticks. */
let crowded = true;

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
  others = 0;
  crowded = true;
  pace = new HandshakePace(
    clock,
    () => 0.5,
    () => (crowded ? ++others : others),
  );
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

describe("a worker with nobody else on it", () => {
  beforeEach(() => {
    crowded = false;
    // Whoever was there before is forgotten.
    come(1);
    while (nowMs <= ALONE_MS || timer !== undefined) {
      if (timer === undefined) come(1);
      tick();
    }
    begun = [];
  });

  test("lets in half as many more with each tick, up to a whole turn of them", () => {
    come(WAITING_MAX);
    expect([tick(), tick(), tick()]).toEqual([49, 74, 112]);
    while (timer !== undefined) {
      const count = tick();
      expect(count).toBeLessThanOrEqual(SHARE_ALONE);
    }
    expect(begun).toHaveLength(WAITING_MAX);
  });

  test("lets in half as many when their own work made a turn of the event loop long", () => {
    come(WAITING_MAX);
    expect([tick(), tick(), tick(15), tick()]).toEqual([49, 74, 37, 56]);
  });

  test("goes back to what leaves time for others as soon as somebody else asks for anything", () => {
    come(WAITING_MAX);
    expect([tick(), tick(), tick()]).toEqual([49, 74, 112]);
    others++;
    expect([tick(), tick()]).toEqual([SHARE_MAX, SHARE_MAX]);
    // And forgets them after a while.
    for (let at = 0; at < ALONE_MS / 10; at++) tick();
    expect(tick()).toBeGreaterThan(SHARE_MAX);
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
