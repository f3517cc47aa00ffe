// The proof that the simulation would notice: each deliberate break of the protocol is found within so many seeds, as what it is.

import { expect, test } from "vitest";
import type { Invariant } from "./checker.ts";
import { kept } from "./kept.ts";
import { mutations } from "./mutations.ts";
import { search, type Finding } from "./order.ts";

/** Most are found in the first ten. */
const SEEDS_MAX = 3_000;
const NETWORKS_MAX = 30;
type Found = Awaited<ReturnType<typeof search>>;

type Order = Omit<Parameters<typeof search>[0], "from" | "count">;

/**
 * What was found once. A kept schedule says what goes wrong and when, its seed what the network does meanwhile: any change of what a
 * node sends shifts that, so some others are tried as well.
 */
async function recall(order: Order, seed: number | string, breaks: readonly Invariant[]): Promise<Found> {
  if (typeof seed === "number") return search({ ...order, from: seed, count: 1 });
  const schedule = kept(seed);
  let found: Found | undefined;
  for (let more = 0; more < NETWORKS_MAX; more++) {
    found = await search({ ...order, schedule: { ...schedule, seed: schedule.seed + more }, from: 1, count: 1 });
    const [finding] = found.findings;
    if (finding !== undefined && breaks.some((invariant) => invariant === brokenBy(finding))) break;
  }
  return found ?? search({ ...order, from: 1, count: 1 });
}

function brokenBy(finding: Finding): unknown {
  return "violation" in finding ? finding.violation.invariant : finding;
}

test.concurrent.for(mutations.map(({ name, breaks, seed }) => [name, breaks, seed] as const))(
  "%s: found",
  { timeout: 120_000 },
  async ([name, breaks, seed], { expect }) => {
    const order = { step: 1, mutation: name, shrinks: false, trace: false, findingsMax: 1 };
    const remembered = await recall(order, seed, breaks);
    const { findings, totals } =
      remembered.findings.length > 0 ? remembered : await search({ ...order, from: 1, count: SEEDS_MAX });
    const [finding] = findings;
    expect(finding, `nothing in ${totals.runs} runs`).toBeDefined();
    expect(breaks).toContain(finding === undefined ? undefined : brokenBy(finding));
  },
);

test("every invariant has a mutation that breaks it", () => {
  const broken = new Set(mutations.flatMap(({ breaks }) => breaks));
  expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].filter((number) => !broken.has(number as Invariant))).toEqual([]);
});
