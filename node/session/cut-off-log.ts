// Tells of sessions that did not stop in time. At the end of a worker these may be hundreds of thousands: the first of them are named, the
// others counted.

import type { Log } from "../log.ts";
import type { StopReason } from "./end-reason.ts";

/** Named between two calls of `sum`. */
const NAMED_MAX = 10;

export class CutOffLog {
  readonly #log: Log;
  #named = 0;
  #more = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  note(session: string, reason: StopReason, limitMs: number): void {
    if (this.#named === NAMED_MAX) {
      this.#more++;
      return;
    }
    this.#named++;
    this.#log.warn("session was cut off: it did not stop in time", { session, reason, limitMs: Math.ceil(limitMs) });
  }

  /** Tells of those that were not named, and begins anew. */
  sum(): void {
    if (this.#more > 0)
      this.#log.warn("more sessions were cut off: they did not stop in time", { sessions: this.#more });
    this.#named = 0;
    this.#more = 0;
  }
}
