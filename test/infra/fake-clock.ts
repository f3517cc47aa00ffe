// A clock that stands still until a test moves it. Timers run in order, each at its own time, and what they set in motion (promises,
// microtasks) has come to rest before the next one runs.

import type { Clock } from "#mesh";

export interface FakeClock extends Clock {
  /** Moves the time on, running what falls due. */
  advance(ms: number): Promise<void>;
  /** Advances in steps until `done`; fails after `withinMs` of fake time. */
  until(done: () => boolean, withinMs: number): Promise<void>;
  /** Timers that have not run: what a closed thing has left behind. */
  readonly pending: number;
}

export function fakeClock(start = 1_000_000): FakeClock {
  let now = start;
  let order = 0;
  const timers = new Map<number, { readonly at: number; readonly fn: () => void }>();

  const next = (limit: number): { id: number; at: number; fn: () => void } | undefined => {
    let found: { id: number; at: number; fn: () => void } | undefined;
    for (const [id, { at, fn }] of timers) {
      if (at <= limit && (found === undefined || at < found.at)) found = { id, at, fn };
    }
    return found;
  };
  const advance = async (ms: number): Promise<void> => {
    const end = now + ms;
    await settled();
    for (let due = next(end); due !== undefined; due = next(end)) {
      timers.delete(due.id);
      now = Math.max(now, due.at);
      due.fn();
      await settled();
    }
    now = end;
  };
  return {
    now: () => now,
    timer(ms, fn) {
      const id = order++;
      timers.set(id, { at: now + ms, fn });
      return () => timers.delete(id);
    },
    advance,
    async until(done, withinMs) {
      const end = now + withinMs;
      while (!done()) {
        if (now >= end) throw new Error(`it did not happen within ${withinMs} ms`);
        await advance(10);
      }
    },
    get pending() {
      return timers.size;
    },
  };
}

/** All microtasks have run by the next turn of the event loop. */
function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
