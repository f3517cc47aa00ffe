// A thread that runs seed after seed and reports what it found. The product's source is edited before the simulation is loaded, which is
// why both are apart from run.ts.

import { parentPort, workerData } from "node:worker_threads";
import { mutations } from "./mutations.ts";
import { editSources, fewPartitions } from "./source-edits.ts";
import type { Finding, Report, SearchOrder } from "./order.ts";

const order = workerData as SearchOrder;
const mutation = mutations.find(({ name }) => name === order.mutation);
if (order.mutation !== undefined && mutation === undefined) throw new Error(`there is no mutation "${order.mutation}"`);
editSources([fewPartitions, ...(mutation?.edits ?? [])]);

const { Simulation } = await import("./simulation.ts");
const { scheduleOf } = await import("./schedule.ts");
const { shrink } = await import("./shrink.ts");
const { add, noTotals } = await import("./totals.ts");

const totals = noTotals();
const findings: Finding[] = [];
let current = order.from;
process.on("uncaughtException", (error) => fail(error));
process.on("unhandledRejection", (error) => fail(error));

function fail(error: unknown): void {
  const what = `seed ${current}: ${error instanceof Error ? error.stack : String(error)}`;
  report({ totals, findings: [...findings, { seed: current, error: what }] });
  process.exit(1);
}

function report(found: Report): void {
  // A port of a thread: it has no origins.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  parentPort?.postMessage(found);
}

/** One task a run, so that a failure of the code under test is noticed with its seed. */
function next(seed: number): void {
  const isLate = order.limitMs !== undefined && performance.now() >= order.limitMs;
  if (isLate || seed >= order.from + order.count || findings.length >= order.findingsMax) {
    report({ totals, findings });
    return;
  }
  current = seed;
  const schedule = order.schedule ?? scheduleOf(seed, order.theme);
  const outcome = new Simulation(schedule, order.trace ? (line) => console.log(line) : undefined).run();
  add(totals, outcome);
  if (outcome.violation !== undefined) {
    const shrunk = order.shrinks ? shrink(schedule, outcome.violation) : undefined;
    findings.push({
      seed,
      theme: schedule.theme,
      violation: outcome.violation,
      ...(shrunk === undefined ? {} : { shrunk }),
    });
  }
  setImmediate(next, seed + order.step);
}

// Not from this module's own evaluation, which is a promise.
setImmediate(next, order.from);
