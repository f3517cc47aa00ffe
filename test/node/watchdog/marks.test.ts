// What the watchdog's thread does on the main thread happens between any two functions of Node's own.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const MARKS = 20_000;
/** Node's functions stay calls of their own, as they are at the start of a worker: once they are inlined nothing comes between them. */
const FLAGS = ["--no-opt", "--no-maglev"];

test("ticks go on however often a turn is marked", { timeout: 30_000 }, async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/marks.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [...FLAGS, fixture, String(MARKS)]);
  expect(stdout.trim()).toBe(`${MARKS} marks`);
});
