// Time for leases: milliseconds that rise while the machine sleeps too, and mean the same in every process of the machine, so a
// deadline that one process computes can be checked in another. Nothing here is a date.

import os from "node:os";

export interface Clock {
  /** Milliseconds since the machine started; never steps back. */
  now(): number;
  /** Calls `fn` once, no sooner than in `ms`. Returns a cancel that may be called at any time. */
  timer(ms: number, fn: () => void): () => void;
}

/** How long after a wake-up the monotonic clock alone may be believed. Reading the uptime costs 10 us and more, so not on every call. */
const UPTIME_EVERY_MS = 50;

// The monotonic clock stops in suspend on Linux, the uptime does not; the uptime has steps of 10 ms, the monotonic clock
// none. `performance.now()` is the same clock as `hrtime` and cheaper, but begins at the start of the process.
const processStartMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
let sleptMs = 0;
let sampledAt = Number.NEGATIVE_INFINITY;

export const systemClock: Clock = {
  now() {
    const monotonic = performance.now() + processStartMs;
    if (monotonic - sampledAt >= UPTIME_EVERY_MS) {
      sampledAt = monotonic;
      // Only rises: the uptime is rounded down, so a later sample may show less, and time must not step back.
      sleptMs = Math.max(sleptMs, os.uptime() * 1000 - monotonic);
    }
    return monotonic + sleptMs;
  },
  timer(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};
