import { expect, test } from "vitest";
import { CrashBackoff } from "../../../node/session/crash-backoff.ts";

function crash(backoff: CrashBackoff, key: string, times: number, now: number): void {
  for (let at = 0; at < times; at++) backoff.crashed(key, now);
}

test("5 crashes in 10 s are forgiven, the 6th is not", () => {
  const backoff = new CrashBackoff();
  crash(backoff, "a", 5, 0);
  expect(backoff.waitMs("a", 0)).toBe(0);
  crash(backoff, "a", 1, 10_000);
  expect(backoff.waitMs("a", 10_000)).toBe(1_000);
  expect(backoff.waitMs("b", 10_000)).toBe(0);
});

test("crashes further apart are forgiven for ever", () => {
  const backoff = new CrashBackoff();
  for (let now = 0; now < 100_000; now += 2_100) {
    backoff.crashed("a", now);
    expect(backoff.waitMs("a", now)).toBe(0);
  }
});

test("each crash after a block blocks for twice as long, up to a minute, and a quiet minute forgets it all", () => {
  const backoff = new CrashBackoff();
  crash(backoff, "a", 6, 0);
  let now = 0;
  const waits: number[] = [];
  for (let at = 0; at < 8; at++) {
    const wait = backoff.waitMs("a", now);
    waits.push(wait);
    now += wait;
    backoff.crashed("a", now);
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  now += backoff.waitMs("a", now) + 60_001;
  backoff.crashed("a", now);
  expect(backoff.waitMs("a", now)).toBe(0);
});

test("the table forgets the name that crashed longest ago", () => {
  const backoff = new CrashBackoff();
  crash(backoff, "first", 6, 0);
  for (let at = 0; at < 9_999; at++) backoff.crashed(`other${at}`, 1);
  expect(backoff.waitMs("first", 1)).toBeGreaterThan(0);
  backoff.crashed("one more", 1);
  expect(backoff.waitMs("first", 1)).toBe(0);
});
