// "Something changed, look again": what requests wait on while a partition recovers or a view is on its way. Waits are bounded in time
// and number.

import { MeshError } from "#proto";
import type { Clock } from "./clock.ts";

/** Requests that wait for the mesh at one worker. More would only time out later and cost memory meanwhile. */
const WAITERS_MAX = 10_000;

export class ChangeSignal {
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Wakes everyone who waits now. */
  notify(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  /** Settles at the next `notify`, or after `ms`. Throws `overloaded` when too many wait already. */
  wait(ms: number): Promise<void> {
    if (this.#waiters.size >= WAITERS_MAX) {
      throw new MeshError("overloaded", "too many requests wait for the mesh to settle", { retryAfterMs: 1_000 });
    }
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiters.delete(wake);
        resolve();
      };
      const cancel = this.#clock.timer(ms, wake);
      this.#waiters.add(wake);
    });
  }
}
