// What happened over many runs, added up: whether the faults bite.

import type { Outcome } from "./simulation.ts";

export interface Totals {
  runs: number;
  steps: number;
  stepsLeast: number;
  cutShort: number;
  readonly counts: Record<string, number>;
}

export function noTotals(): Totals {
  return { runs: 0, steps: 0, stepsLeast: Number.POSITIVE_INFINITY, cutShort: 0, counts: {} };
}

export function add(totals: Totals, outcome: Outcome): void {
  totals.runs++;
  totals.steps += outcome.steps;
  if (outcome.cutShort === undefined) totals.stepsLeast = Math.min(totals.stepsLeast, outcome.steps);
  if (outcome.cutShort !== undefined) {
    totals.cutShort++;
    count(totals, { [`forgotten: ${outcome.cutShort}`]: 1 });
  }
  const { ended, ...counts } = outcome.counts;
  count(totals, counts);
  count(totals, outcome.network);
  count(totals, { "refused writes": outcome.refusals });
  for (const [reason, times] of Object.entries(ended)) count(totals, { [`ended: ${reason}`]: times });
  for (const [code, times] of outcome.codes) count(totals, { [`failed: ${code}`]: times });
}

export function merge(totals: Totals, more: Totals): void {
  totals.runs += more.runs;
  totals.steps += more.steps;
  totals.stepsLeast = Math.min(totals.stepsLeast, more.stepsLeast);
  totals.cutShort += more.cutShort;
  count(totals, more.counts);
}

function count(totals: Totals, counts: Readonly<Record<string, number>> | object): void {
  for (const [name, times] of Object.entries(counts)) {
    if (typeof times === "number") totals.counts[name] = (totals.counts[name] ?? 0) + times;
  }
}
