// The proof that the simulation would notice: each deliberate break of the protocol is found within so many seeds, as what it is.

import { expect, test } from "vitest";
import type { Invariant } from "./checker.ts";
import { kept } from "./kept.ts";
import { mutations } from "./mutations.ts";
import { search } from "./order.ts";

/** Most are found in the first ten. */
const SEEDS_MAX = 3_000;

test.concurrent.for(mutations.map(({ name, breaks, seed }) => [name, breaks, seed] as const))(
  "%s: found",
  { timeout: 120_000 },
  async ([name, breaks, seed], { expect }) => {
    const order = { step: 1, mutation: name, shrinks: false, trace: false, findingsMax: 1 };
    const remembered = await search({
      ...order,
      ...(typeof seed === "number" ? { from: seed } : { from: 1, schedule: kept(seed) }),
      count: 1,
    });
    const { findings, totals } =
      remembered.findings.length > 0 ? remembered : await search({ ...order, from: 1, count: SEEDS_MAX });
    const [finding] = findings;
    expect(finding, `nothing in ${totals.runs} runs`).toBeDefined();
    expect(breaks).toContain(finding !== undefined && "violation" in finding ? finding.violation.invariant : finding);
  },
);

test("every invariant has a mutation that breaks it", () => {
  const broken = new Set(mutations.flatMap(({ breaks }) => breaks));
  expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].filter((number) => !broken.has(number as Invariant))).toEqual([]);
});
