// What a session must have kept, because all others together have not allocated what the process has grown by. Pure: what full
// collections left and what was allocated in between in, a bound for each session out. Says nothing while others allocate more than
// what stays, whoever holds it and wherever: a variable of a function that waits as well as one of a module.

import type { Amount } from "./allocation-book.ts";

/** Others count for so much more than what was booked for them: the book misses some of what is collected within a turn. */
const OTHERS_FACTOR = 1.1;

export interface Kept<Session> {
  readonly session: Session;
  /** At least. */
  readonly bytes: number;
  /** Since then. */
  readonly sinceMs: number;
}

interface Bound {
  heapBytes: number;
  bufferBytes: number;
  sinceMs: number;
}

const NOTHING: Amount = { heapBytes: 0, bufferBytes: 0 };

export class GrowthProof<Session extends { readonly ended: boolean }> {
  #last: Amount | undefined;
  #lastMs = 0;
  /** Of sessions that must have kept something. */
  #bounds = new Map<Session, Bound>();

  /** Forgets all. `used` may hold garbage: then some growth is missed, and none is made up. */
  begin(used: Amount, nowMs: number): void {
    this.#last = used;
    this.#lastMs = nowMs;
    this.#bounds.clear();
  }

  /** After a full collection. `allocated`: since the one before, or since `begin`. */
  collected(live: Amount, allocated: ReadonlyMap<Session | undefined, Amount>, nowMs: number): void {
    const last = this.#last;
    if (last === undefined) return;
    const sinceMs = this.#lastMs;
    this.#last = live;
    this.#lastMs = nowMs;
    const all = { heapBytes: 0, bufferBytes: 0 };
    for (const amount of allocated.values()) {
      all.heapBytes += amount.heapBytes;
      all.bufferBytes += amount.bufferBytes;
    }
    const before = this.#bounds;
    this.#bounds = new Map();
    for (const session of new Set([...before.keys(), ...allocated.keys()])) {
      if (session === undefined || session.ended) continue;
      const own = allocated.get(session) ?? NOTHING;
      const bound = before.get(session);
      const next: Bound = { heapBytes: 0, bufferBytes: 0, sinceMs: bound?.sinceMs ?? sinceMs };
      for (const kind of ["heapBytes", "bufferBytes"] as const) {
        const others = (all[kind] - own[kind]) * OTHERS_FACTOR;
        const kept = Math.min(own[kind], live[kind] - last[kind] - others);
        // Not below zero: from where it stands lowest on is what tells most.
        next[kind] = Math.max(0, (bound?.[kind] ?? 0) + kept);
      }
      if (next.heapBytes + next.bufferBytes > 0) this.#bounds.set(session, next);
    }
  }

  /** The one that must have kept most. */
  most(): Kept<Session> | undefined {
    let most: Kept<Session> | undefined;
    for (const [session, { heapBytes, bufferBytes, sinceMs }] of this.#bounds) {
      const bytes = heapBytes + bufferBytes;
      if (!session.ended && bytes > (most?.bytes ?? 0)) most = { session, bytes, sinceMs };
    }
    return most;
  }
}
