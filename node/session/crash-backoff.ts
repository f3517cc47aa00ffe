// Names that crash again and again must not cost the worker a construction, an onStart and a log line each time: after too many crashes in
// a short time a name is refused for a while, longer each time. Pure: the time comes in with each call.

import { MeshError } from "#proto";

const CRASHES_MAX = 5;
const WINDOW_MS = 10_000;
/** Too small: a broken session burns CPU. Too large: a repaired one stays away for long. */
const BLOCK_FIRST_MS = 1_000;
const BLOCK_MAX_MS = 60_000;
/** A name that held out so long after its last block starts with a clean slate. */
const FORGET_MS = 60_000;
/** About 200 bytes each. Beyond it the name that crashed longest ago is forgotten, which only costs it a few crashes more. */
const NAMES_MAX = 10_000;

interface Record {
  /** Times of the last crashes, oldest first. Invariant: at most CRASHES_MAX + 1. */
  readonly times: number[];
  blockMs: number;
  until: number;
}

export class CrashBackoff {
  readonly #records = new Map<string, Record>();

  crashed(key: string, now: number): void {
    let record = this.#records.get(key);
    if (record === undefined || (record.blockMs > 0 && now - record.until > FORGET_MS)) {
      record = { times: [], blockMs: 0, until: 0 };
    }
    record.times.push(now);
    if (record.times.length > CRASHES_MAX + 1) record.times.shift();
    const often = record.times.length > CRASHES_MAX && now - (record.times[0] ?? now) <= WINDOW_MS;
    // Once blocked, a name is on probation: its next crash blocks it again at once.
    if (often || record.blockMs > 0) {
      record.blockMs = record.blockMs === 0 ? BLOCK_FIRST_MS : Math.min(record.blockMs * 2, BLOCK_MAX_MS);
      record.until = now + record.blockMs;
    }
    // Deleted first, so that the map's order is the order of the last crashes.
    this.#records.delete(key);
    this.#records.set(key, record);
    if (this.#records.size > NAMES_MAX) {
      for (const oldest of this.#records.keys()) {
        this.#records.delete(oldest);
        break;
      }
    }
  }

  /** Throws `overloaded` while the name may not be started again. */
  admit(key: string, now: number): void {
    const waitMs = Math.ceil(this.waitMs(key, now));
    if (waitMs === 0) return;
    const why = `${key} has crashed too often; it may start again in ${waitMs} ms`;
    throw new MeshError("overloaded", why, { session: key, retryAfterMs: waitMs });
  }

  /** Milliseconds until the name may be started again; 0: now. */
  waitMs(key: string, now: number): number {
    if (this.#records.size === 0) return 0;
    const record = this.#records.get(key);
    return record === undefined ? 0 : Math.max(0, record.until - now);
  }
}
