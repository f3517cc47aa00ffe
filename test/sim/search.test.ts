// A small part of `npm run test:sim` with every run of the unit tests, and the proof that it would notice: each deliberate break of the
// protocol is found.

import { expect, test } from "vitest";
import { kept, keptNames } from "./kept.ts";
import { searchAll } from "./order.ts";

const SEEDS = 100;

const order = { from: 1, count: SEEDS, shrinks: true, trace: false, findingsMax: 3 };

test("no seed breaks an invariant, and the faults bite", { timeout: 60_000 }, async () => {
  const { totals, findings } = await searchAll(order, 2);
  expect(findings).toEqual([]);
  expect(totals.runs).toBe(SEEDS);
  for (const name of ["marks", "fences", "suspends", "outages", "repairs", "ghosts", "moved", "broken"]) {
    expect(totals.counts[name], name).toBeGreaterThan(3);
  }
});

test("no seed breaks an invariant while registries go back again and again", { timeout: 60_000 }, async () => {
  const { totals, findings } = await searchAll({ ...order, theme: "rewinds" }, 2);
  expect(findings).toEqual([]);
  for (const name of ["marks", "fences", "suspends", "resumes", "repairs", "ghosts"]) {
    expect(totals.counts[name], name).toBeGreaterThan(20);
  }
});

test(
  "no seed breaks an invariant while nodes fall silent and come back without contact",
  { timeout: 60_000 },
  async () => {
    const { totals, findings } = await searchAll({ ...order, theme: "revivals" }, 2);
    expect(findings).toEqual([]);
    for (const name of ["marks", "fences", "suspends", "resumes", "outages"]) {
      expect(totals.counts[name], name).toBeGreaterThan(5);
    }
  },
);

test("no seed breaks an invariant while addresses go with their processes", { timeout: 60_000 }, async () => {
  const { totals, findings } = await searchAll({ ...order, theme: "containers" }, 2);
  expect(findings).toEqual([]);
  for (const name of ["marks", "fences", "ghosts", "broken", "unreached"]) {
    expect(totals.counts[name], name).toBeGreaterThan(5);
  }
});

test(
  "a mark that was lost with the registry's data costs no promise in a later outage",
  { timeout: 60_000 },
  async () => {
    const schedule = kept("wiped-while-a-mark-was-on-its-way");
    const { totals } = await searchAll({ ...order, count: 1, schedule }, 1);
    // By its own stall, and not in the outage after it.
    expect(totals.counts.suspends).toBe(1);
  },
);

test.for(keptNames())("%s: stays right", { timeout: 60_000 }, async (name) => {
  const { findings } = await searchAll({ ...order, count: 1, schedule: kept(name), shrinks: false }, 1);
  expect(findings).toEqual([]);
});

test("a seed gives the same run again", { timeout: 60_000 }, async () => {
  const [once, again] = await Promise.all([1, 2].map(() => searchAll({ ...order, count: 30 }, 1)));
  expect(once).toEqual(again);
});
