// Measures this worker's load for placement: event-loop utilisation and delay since the last reading, memory, sessions.

import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { WorkerLoad } from "#proto";
import { ResidentMemory } from "../resident-memory.ts";

/** Resolution of the delay histogram. Finer costs a timer that fires more often; this is 0.1 % of a core. */
const DELAY_RESOLUTION_MS = 20;

export class LoadMeter {
  readonly #index: number;
  readonly #sessions: () => number;
  readonly #memory = new ResidentMemory();
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  #before = performance.eventLoopUtilization();

  constructor(index: number, sessions: () => number) {
    this.#index = index;
    this.#sessions = sessions;
    this.#delay.enable();
  }

  /** `full`: the worker takes no new sessions. */
  read(full: boolean): WorkerLoad {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    const meanMs = this.#delay.mean / 1e6 - DELAY_RESOLUTION_MS;
    this.#delay.reset();
    return {
      index: this.#index,
      sessions: this.#sessions(),
      utilisation: round(utilization, 3),
      lagMs: round(Math.max(0, meanMs), 1),
      rssBytes: this.#memory.bytes(),
      ...(full ? { full } : {}),
    };
  }

  close(): void {
    this.#delay.disable();
  }
}

/** Both meters divide by an interval that can be empty; a lease with NaN in it would not be one. */
function round(value: number, digits: number): number {
  return Number.isFinite(value) ? Number(value.toFixed(digits)) : 0;
}
