import { execFileSync } from "node:child_process";
import path from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "#mesh";

test("the clock never steps back", () => {
  let last = systemClock.now();
  for (let turn = 0; turn < 100_000; turn++) {
    const now = systemClock.now();
    if (now < last) expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
});

test("another process of this machine reads the same time, whenever it started", () => {
  const script = `import { systemClock } from ${JSON.stringify(path.resolve("mesh/clock.ts"))};
    process.stdout.write(String(systemClock.now()));`;
  const before = systemClock.now();
  const there = Number(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }));
  const after = systemClock.now();
  // The uptime has steps of 10 ms, which two processes may round differently.
  expect(there).toBeGreaterThan(before - 20);
  expect(there).toBeLessThan(after + 20);
});
