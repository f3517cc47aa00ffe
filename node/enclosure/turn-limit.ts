// When a turn of an enclosed session has taken too long: its event loop stood still for the whole budget. Pure: what was seen and the
// time come in with each look. Time in which nobody looked does not count, because then everything may have stood still.

/**
 * Pace of the looks, and of the counting that they look at. Too small: idle sessions cost CPU. Too large: sessions are ended late, which
 * only their own clients notice.
 */
export const LOOK_MS = 250;
/**
 * A turn must have used its budget in CPU time of its process, or else have lasted so much longer: on a machine that is short of CPU a
 * harmless turn takes long as well.
 */
const STARVED_MS = 500;

export interface Sight {
  /** How far its event loop has counted. */
  readonly progress: number;
  readonly nowMs: number;
  /** CPU time of the process so far. */
  readonly cpuMs: number;
}

export class TurnLimit {
  readonly #budgetMs: number;
  #progress = 0;
  #lookedMs: number | undefined;
  #sinceCpuMs = 0;
  #lastedMs = 0;

  constructor(budgetMs: number) {
    this.#budgetMs = budgetMs;
  }

  /** For how long the turn has lasted, once that is too long. */
  look({ progress, nowMs, cpuMs }: Sight): number | undefined {
    const passedMs = nowMs - (this.#lookedMs ?? nowMs);
    this.#lookedMs = nowMs;
    if (progress !== this.#progress || progress === 0) {
      this.#progress = progress;
      this.#lastedMs = 0;
      this.#sinceCpuMs = cpuMs;
      return undefined;
    }
    this.#lastedMs += Math.min(passedMs, 2 * LOOK_MS);
    // It may have counted just before the first look, or be about to: one look more than the budget.
    const overMs = this.#lastedMs - this.#budgetMs - LOOK_MS;
    const busy = cpuMs - this.#sinceCpuMs >= this.#budgetMs;
    return overMs >= 0 && (busy || overMs >= STARVED_MS) ? Math.round(this.#lastedMs) : undefined;
  }
}
