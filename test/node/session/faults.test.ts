// Handlers of the whole process cannot be tried inside a test runner, which has its own: a child process does.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("a stray fault ends the session that it came from, and what is nobody's is our own", async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/stray-faults.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [fixture]);
  const faults = ["rejection", "nextTick", "microtask", "timer", "emitter", "socket", "late"];
  expect(JSON.parse(stdout)).toEqual({
    ended: faults.map((name) => ({ key: `faulty/${name}`, reason: "crashed" })),
    neighbours: faults.map(() => "2"),
    ownFaults: ["Error: ours"],
  });
});
