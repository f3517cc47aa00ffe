// When a turn has taken too long. The budget is what the neighbours may have to wait, all in all; so the end of a turn begins while there
// is time left to stop it and to serve those who waited. Pure: what was seen, and when, comes in with each look.

/** What it takes to stop a turn and to serve a thousand sessions that waited for it, on a machine that has other work. */
const STOP_MS = 300;
/** Of the budget, where that is little. */
const STOP_SHARE = 0.3;
/**
 * A turn must have worked for this share of its budget and a little more. On a machine that is short of CPU, or stops for a while, a harmless
 * turn takes long, too. Too small: those are ended. Too large: on a busy machine the neighbours wait for longer than the budget.
 */
const WORK_SHARE = 0.5;
/** What looking into a turn and helper threads may add to it. A turn must never work for more than its budget, though. */
const WORK_MS = 50;
/**
 * A turn that has not worked for its share when the budget has been over for so long is ended all the same. Must be well under what the
 * primary allows on top of the budget.
 */
const STARVED_MS = 500;
/** The kernel tells CPU time in lumps, which may come a look late. Too small: turns seem to work less than they do, and are ended late. */
const LUMP_MS = 40;
/** Time between two looks counts up to this: when it was more, everything may have stood still. */
const GAP_MAX_MS = 250;

export interface Sight {
  readonly nowMs: number;
  /** CPU time of the main thread so far. That of helper threads may count, too, which only makes a turn look busier. */
  readonly cpuMs: number;
  /** The main thread waits for something, and not for a CPU. */
  readonly asleep: boolean;
}

export class Suspicion {
  readonly #budgetMs: number;
  readonly #movedMs: number;
  #last: Sight;
  /** How long the turn has worked, or blocked its thread by waiting. */
  #workedMs = 0;
  /** CPU time that is not counted yet. */
  #cpuMs = 0;
  #lastedMs = 0;

  /** @param movedMs when the event loop was seen to move last; the turn has lasted since `first` at least */
  constructor(budgetMs: number, movedMs: number, first: Sight) {
    this.#budgetMs = budgetMs;
    this.#movedMs = movedMs;
    this.#last = first;
  }

  /** What it did since the last look was our doing. */
  skip(sight: Sight): void {
    this.#last = sight;
  }

  /** The milliseconds until the turn is to be ended, should it work all the time; 0 or less: now. */
  look(sight: Sight): number {
    const passedMs = Math.min(sight.nowMs - this.#last.nowMs, GAP_MAX_MS);
    this.#cpuMs = Math.min(this.#cpuMs + sight.cpuMs - this.#last.cpuMs, passedMs + LUMP_MS);
    const busyMs = Math.min(passedMs, this.#cpuMs);
    this.#cpuMs -= busyMs;
    this.#workedMs += sight.asleep ? passedMs : busyMs;
    this.#lastedMs += passedMs;
    this.#last = sight;
    const stopMs = this.#budgetMs - Math.min(STOP_MS, this.#budgetMs * STOP_SHARE);
    const workMs = Math.min(this.#budgetMs, this.#budgetMs * WORK_SHARE + WORK_MS);
    const leftMs = Math.max(this.#movedMs + stopMs - sight.nowMs, workMs - this.#workedMs);
    return Math.min(leftMs, this.#budgetMs + STARVED_MS - this.#lastedMs);
  }
}
