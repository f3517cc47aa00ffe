// The one way in which cluster tests wait for a state that no event tells: look, pause, look again, until a deadline.

import { setTimeout as sleep } from "node:timers/promises";

/** Short beside what is waited for, long beside what a look costs. */
const PAUSE_MS = 25;

/**
 * The first value of `check` that is neither `undefined` nor `false`. A check that throws counts as "not yet". Rejects after `ms` with
 * what the last look said.
 */
export async function eventually<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  ms: number,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    let last: unknown = "nothing";
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(`not within ${ms} ms: ${check.toString()}; the last look: ${String(last)}`, { cause: last });
    }
    await sleep(PAUSE_MS);
  }
}
