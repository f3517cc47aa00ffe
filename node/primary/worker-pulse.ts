// The second level behind each worker's own watchdog: a worker that says nothing for too long is killed from outside. Every message
// counts as a sign of life; a healthy worker reports its load twice a second.

import { systemClock, type Clock } from "#mesh";

/** On top of the turn budget: time for the worker's watchdog to name the session and to end it alone. */
const ALLOWANCE_MS = 3_000;
const CHECK_MS = 250;
/** We were stopped ourselves, or the machine was: nobody's silence counts. */
const OWN_PAUSE_MS = 1_000;

export class WorkerPulse {
  readonly #limitMs: number;
  readonly #clock: Clock;
  readonly #onSilent: (index: number, silentMs: number) => void;
  readonly #heardMs = new Map<number, number>();
  #checkedMs: number;
  #cancel: () => void = () => {};

  constructor(turnBudgetMs: number, onSilent: (index: number, silentMs: number) => void, clock: Clock = systemClock) {
    this.#limitMs = turnBudgetMs + ALLOWANCE_MS;
    this.#onSilent = onSilent;
    this.#clock = clock;
    this.#checkedMs = clock.now();
    this.#checkLater();
  }

  /** The worker lives. Its first sign starts the watch. */
  heard(index: number): void {
    this.#heardMs.set(index, this.#clock.now());
  }

  /** It has gone, or ends in order. */
  forget(index: number): void {
    this.#heardMs.delete(index);
  }

  close(): void {
    this.#cancel();
    this.#heardMs.clear();
  }

  #checkLater(): void {
    this.#cancel = this.#clock.timer(CHECK_MS, () => {
      this.#checkLater();
      this.#check(this.#clock.now());
    });
  }

  #check(now: number): void {
    const pausedMs = now - this.#checkedMs;
    this.#checkedMs = now;
    for (const [index, heardMs] of this.#heardMs) {
      if (pausedMs > OWN_PAUSE_MS) {
        this.#heardMs.set(index, now);
      } else if (now - heardMs > this.#limitMs) {
        this.#heardMs.delete(index);
        this.#onSilent(index, Math.round(now - heardMs));
      }
    }
  }
}
