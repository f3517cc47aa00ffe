// The node's lease as one of its workers holds it: a deadline that the primary moves on with each acknowledged heartbeat. Past it
// the worker holds back everything that a session would do, and loses nothing: when the deadline moves on, it goes on.

import { systemClock, type Clock, type Lease } from "#mesh";

export class WorkerLease implements Lease {
  readonly #clock: Clock;
  #deadline = 0;
  #waiting: { readonly opened: Promise<void>; readonly open: () => void } | undefined;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  isOpen(): boolean {
    return this.#clock.now() < this.#deadline;
  }

  /** One promise for all who wait, so that a million held events cost one timer-less wait. */
  whenOpen(): Promise<void> {
    if (this.isOpen()) return Promise.resolve();
    if (this.#waiting === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = { opened: promise, open: resolve };
    }
    return this.#waiting.opened;
  }

  extend(deadline: number): void {
    // Messages of one primary come in order, but a smaller deadline must never take back what was promised.
    this.#deadline = Math.max(this.#deadline, deadline);
    if (!this.isOpen()) return;
    this.#waiting?.open();
    this.#waiting = undefined;
  }
}
