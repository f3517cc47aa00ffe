import { expect, test } from "vitest";
import { Taint } from "../../../node/watchdog/taint.ts";

test("a worker is tainted by its eleventh kill within a minute", () => {
  const taint = new Taint();
  const verdicts = Array.from({ length: 11 }, (_, at) => taint.killed(at * 6_000));
  expect(verdicts).toEqual([...Array.from({ length: 10 }, () => false), true]);
});

test("kills that are further apart taint no worker", () => {
  const taint = new Taint();
  for (let at = 0; at < 100; at++) expect(taint.killed(at * 6_001)).toBe(false);
});
