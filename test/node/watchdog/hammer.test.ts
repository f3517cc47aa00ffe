// The watchdog needs flags of Node and a main thread of its own, which a test runner has not: a child process has.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** 100,000 turns take minutes: `node --no-force-async-hooks-checks --no-use-osr test/fixtures/hammer.ts 100000 5`. */
const TURNS = 300;
const BUDGET_MS = 5;

test.for(["with memory to spare", "booked"])(
  "the watchdog ends the session that does not come back and none of its busy neighbours, %s",
  { timeout: 30_000 },
  async (memory) => {
    const fixture = fileURLToPath(new URL("../../fixtures/hammer.ts", import.meta.url));
    const flags = ["--no-force-async-hooks-checks", "--no-use-osr"];
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...flags,
      fixture,
      String(TURNS),
      String(BUDGET_MS),
      memory,
    ]);
    const told = JSON.parse(stdout) as { culprits: number; killed: number; turns: number };
    expect(told).toMatchObject({ culpritEnds: ["session_killed"], neighbourEnds: ["answered"], wrong: [] });
    expect(told.killed).toBe(told.culprits);
    expect(told.turns).toBeGreaterThanOrEqual(TURNS);
  },
);
