// Measures this worker's load for placement: event-loop utilisation and delay since the last reading, memory, sessions.

import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { WorkerLoad } from "#proto";

/** Resolution of the delay histogram. Finer costs a timer that fires more often; this is 0.1 % of a core. */
const DELAY_RESOLUTION_MS = 20;

export class LoadMeter {
  readonly #index: number;
  readonly #sessions: () => number;
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  #before = performance.eventLoopUtilization();

  constructor(index: number, sessions: () => number) {
    this.#index = index;
    this.#sessions = sessions;
    this.#delay.enable();
  }

  read(): WorkerLoad {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, this.#before);
    this.#before = now;
    const meanMs = this.#delay.count === 0 ? 0 : this.#delay.mean / 1e6 - DELAY_RESOLUTION_MS;
    this.#delay.reset();
    return {
      index: this.#index,
      sessions: this.#sessions(),
      utilisation: round(utilization, 3),
      lagMs: round(Math.max(0, Number.isFinite(meanMs) ? meanMs : 0), 1),
      rssBytes: process.memoryUsage.rss(),
    };
  }

  close(): void {
    this.#delay.disable();
  }
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
