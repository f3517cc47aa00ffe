// Makes a schedule that fails smaller while it still breaks the same invariant: fewer faults, nodes, workers, names, and less time. Tries
// each cut under a few other seeds as well, for a cut changes every draw behind it.

import type { Schedule } from "./schedule.ts";
import { Simulation } from "./simulation.ts";
import type { Violation } from "./checker.ts";

/** Runs of one shrinking: some seconds. */
const RUNS_MAX = 600;
const SEEDS_TRIED = 3;

export interface Shrunk {
  readonly schedule: Schedule;
  readonly violation: Violation;
}

export function shrink(schedule: Schedule, violation: Violation): Shrunk {
  let best: Shrunk = { schedule, violation };
  let runs = 0;
  const tries = (candidate: Schedule): boolean => {
    for (let at = 0; at < SEEDS_TRIED && runs < RUNS_MAX; at++, runs++) {
      const seeded = { ...candidate, seed: candidate.seed + at * 1_000_003 };
      const { violation: found } = new Simulation(seeded).run();
      if (found?.invariant !== violation.invariant) continue;
      best = { schedule: seeded, violation: found };
      return true;
    }
    return false;
  };
  for (let smaller = true; smaller && runs < RUNS_MAX;) {
    smaller = false;
    for (const candidate of cutsOf(best)) {
      if (runs >= RUNS_MAX) break;
      if (tries(candidate)) {
        smaller = true;
        break;
      }
    }
  }
  return best;
}

function* cutsOf({ schedule, violation }: Shrunk): Generator<Schedule> {
  const { faults, calmMs, nodes, workers, names, requestMs } = schedule;
  const needed = faults.filter((fault) => fault.atMs <= violation.atMs);
  if (needed.length < faults.length) yield { ...schedule, faults: needed };
  for (let length = needed.length >> 1; length >= 1; length >>= 1) {
    for (let at = 0; at < needed.length; at += length) yield { ...schedule, faults: needed.toSpliced(at, length) };
  }
  if (nodes > 2) yield { ...schedule, nodes: nodes - 1 };
  if (schedule.nodesMax > nodes) yield { ...schedule, nodesMax: schedule.nodesMax - 1 };
  if (workers > 1) yield { ...schedule, workers: workers - 1 };
  if (names > 1) yield { ...schedule, names: names >> 1 };
  if (requestMs < 400) yield { ...schedule, requestMs: requestMs * 2 };
  if (schedule.clockDrift > 0) yield { ...schedule, clockDrift: 0 };
  const last = Math.max(0, ...faults.map((fault) => fault.atMs));
  if (calmMs > last + 600) yield { ...schedule, calmMs: last + 500 };
}
