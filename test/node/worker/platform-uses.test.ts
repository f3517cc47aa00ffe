// What works in plain Node works behind the freeze: the same table of uses, run in a process that has frozen its built-in objects and in
// one that has not.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const fixture = fileURLToPath(new URL("../../fixtures/platform-uses.js", import.meta.url));

async function outcomes(...parameters: string[]): Promise<Record<string, string>> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", fixture, ...parameters]);
  return JSON.parse(stdout) as Record<string, string>;
}

test("all that works in plain Node comes to the same behind the freeze", async () => {
  const [plain, frozen] = await Promise.all([outcomes(), outcomes("frozen")]);
  expect(Object.keys(plain).length).toBeGreaterThan(15);
  expect(frozen).toEqual(plain);
});
