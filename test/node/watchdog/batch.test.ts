// As hammer.test.ts: the watchdog needs flags of Node and a main thread of its own.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const CALLS = 40;

interface Told {
  readonly first: readonly string[];
  readonly second: readonly string[];
  readonly order: readonly string[];
  readonly killed: readonly string[];
  readonly arrivals: number;
  readonly aloneMs: number;
  /** Of a core, with nothing to do. */
  readonly idleShare: number;
}

// Node goes on differently when the first, the last, or another immediate of a turn of its loop is torn off.
test.each([
  ["first", 0],
  ["eighteenth", 17],
  ["last", CALLS - 1],
])(
  "of the sessions that one batch of calls is for, the %s that does not come back takes no other along",
  { timeout: 20_000 },
  async (_, culprit) => {
    const fixture = fileURLToPath(new URL("../../fixtures/batch.ts", import.meta.url));
    const flags = ["--no-force-async-hooks-checks", "--no-use-osr"];
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, fixture, String(culprit)], {
      timeout: 15_000,
    });
    const told = JSON.parse(stdout) as Told;
    const names = Array.from({ length: CALLS }, (_, at) => String(at));
    expect(told.first).toEqual(names.with(culprit, "session_killed"));
    expect(told.killed).toEqual([`busy/${culprit}`]);
    expect(told.second).toEqual(names.toSpliced(culprit, 1));
    expect(told.arrivals).toBe(CALLS * 2 - 1);
    // Each has a turn of its own: its microtasks are over before the next one begins.
    expect(told.order.filter((entry) => entry !== `behind ${culprit}`)).toEqual(
      names.flatMap((name) => (name === String(culprit) ? [name] : [name, `behind ${name}`])),
    );
    // Never, or much later, when Node's count of immediates is wrong.
    expect(told.aloneMs).toBeLessThan(250);
    expect(told.idleShare).toBeLessThan(0.5);
  },
);
