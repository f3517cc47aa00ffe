// Waiting on the injected clock: how retries are spaced, and how they end when nobody waits for them any more.

import type { Clock } from "./clock.ts";

/** Resolves after `ms`, or at once when the signal is aborted. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const cancel = clock.timer(ms, wake);
  signal.addEventListener("abort", wake, { once: true });
  await promise;
  cancel();
  signal.removeEventListener("abort", wake);
}
