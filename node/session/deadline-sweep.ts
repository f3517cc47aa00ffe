// One sweep for all deadlines of a worker: entries wait in buckets of one tick each. A Node timer per request would cost
// more than the request.

import { Roster, type Rostered } from "#mesh";

export interface Expiring extends Rostered {
  /** The bucket it waits in; 0 while it waits in none. Only the sweep writes it. */
  dueTick: number;
  /** Called once, outside of every session's context. */
  expire(): void;
}

/** Deadlines are late by up to this. Too small: the sweep costs more; too large: time-outs become vague. */
export const SWEEP_MS = 250;

export class DeadlineSweep {
  readonly #now: () => number;
  readonly #buckets = new Map<number, Roster<Expiring>>();
  /** Buckets up to here are empty. */
  #swept: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#swept = Math.floor(now() / SWEEP_MS);
  }

  /** Infinity: never expires. */
  add(entry: Expiring, ms: number): void {
    if (ms === Infinity) return;
    const tick = Math.max(this.#swept + 1, Math.ceil((this.#now() + ms) / SWEEP_MS));
    entry.dueTick = tick;
    const bucket = this.#buckets.get(tick);
    if (bucket === undefined) {
      const first = new Roster<Expiring>();
      first.add(entry);
      this.#buckets.set(tick, first);
    } else bucket.add(entry);
  }

  remove(entry: Expiring): void {
    if (entry.dueTick === 0) return;
    const bucket = this.#buckets.get(entry.dueTick);
    bucket?.delete(entry);
    if (bucket?.size === 0) this.#buckets.delete(entry.dueTick);
    entry.dueTick = 0;
  }

  /** At most `max` expire. False: more are due. */
  sweep(max: number): boolean {
    let left = max;
    const tick = Math.floor(this.#now() / SWEEP_MS);
    // Each entry leaves before it runs, and the mark moves after its bucket: a sweep that is torn off goes on where it was.
    while (this.#swept < tick) {
      const bucket = this.#buckets.get(this.#swept + 1);
      if (bucket !== undefined) {
        for (const entry of bucket) {
          if (left-- === 0) return false;
          this.remove(entry);
          entry.expire();
        }
      }
      this.#swept++;
    }
    return true;
  }
}
