import { closeSync, openSync } from "node:fs";
import { expect, test } from "vitest";
import { LoadMeter } from "../../node/worker/load-meter.ts";

test("a worker that has no file descriptor left still tells its load", () => {
  const meter = new LoadMeter(0, () => 1);
  const { rssBytes } = meter.read(false);
  const open: number[] = [];
  try {
    expect(() => {
      for (;;) open.push(openSync("/dev/null", "r"));
    }).toThrow("EMFILE");
    expect(meter.read(false).rssBytes).toBe(rssBytes);
  } finally {
    for (const fd of open) closeSync(fd);
    meter.close();
  }
  expect(meter.read(false).rssBytes).toBeGreaterThan(0);
});
