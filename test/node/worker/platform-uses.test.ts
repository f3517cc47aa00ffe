// What works in plain Node works behind the freeze: the same tables of uses, run in a process that is set up as a worker is and in one
// that is not. What stays different has its reason in docs/isolation.md.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const fixture = fileURLToPath(new URL("../../fixtures/platform-uses.js", import.meta.url));
/** A process takes 2 s, and more on a machine that is busy. */
const LIMIT_MS = 60_000;
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

async function outcomes(env: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", fixture], {
    env: { ...process.env, ...env },
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  return JSON.parse(stdout) as Record<string, string>;
}

test(
  "all that works in plain Node comes to the same in a worker, but for what the docs name",
  { timeout: LIMIT_MS },
  async () => {
    const [plain, frozen] = await Promise.all([outcomes(), outcomes({ FROZEN: "1" })]);
    expect(Object.keys(plain).length).toBeGreaterThan(1_000);
    const different = Object.keys(plain).filter((use) => plain[use] !== frozen[use]);
    const refused = ["set on an instance", "set on Object.create", "subclass", "subclass of ES5"];
    expect(different).toEqual([
      ...["Number", "Boolean", "String", "Symbol"].flatMap((name) => refused.map((use) => `${name}: ${use}`)),
      // Of one of the methods, whose error says "[object ArrayBuffer]" instead of "#<ArrayBuffer>".
      "ArrayBuffer: members",
      ...refused.map((use) => `BigInt: ${use}`),
      "SharedArrayBuffer: members",
    ]);
  },
);
