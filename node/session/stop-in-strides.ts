// The orderly end of all sessions of a worker, of which there may be a million: some at a time, so that sockets, timers and the sessions
// themselves get their turns in between.

import type { Clock, Lease } from "#mesh";
import type { Cell } from "./cell.ts";
import type { StopReason } from "./end-reason.ts";

/** Told to stop in one turn of the event loop. */
const STRIDE = 512;

/**
 * Resolves when all have ended. They have `limitMs` together; whom it passes before it was told is cut off.
 * @param cells those that come while this goes on are to be in it too, as in the values of a Map
 */
export function stopInStrides(cells: Iterator<Cell>, reason: StopReason, limitMs: number, clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const until = clock.now() + limitMs;
  // One for the walk itself.
  let unfinished = 1;
  const finished = (): void => {
    if (--unfinished === 0) resolve();
  };
  const walk = (): void => {
    const leftMs = until - clock.now();
    for (let left = STRIDE; left > 0; left--) {
      const { value: cell, done } = cells.next();
      if (done === true) return finished();
      if (leftMs > 0) {
        unfinished++;
        void cell.stop(reason, leftMs).then(finished);
      } else {
        cell.kind.host.cutOffs.note(cell.id.key, reason, limitMs);
        cell.finishStop(reason);
      }
    }
    setImmediate(walk);
  };
  walk();
  return promise;
}

/** Of which nothing is under way now. The others are passed; so are all from the moment on at which the node is suspended. */
export function stopQuietInStrides(cells: Iterator<Cell>, reason: StopReason, limitMs: number, lease: Lease): void {
  const walk = (): void => {
    // A suspended session could not run its `onStop`.
    if (!lease.isOpen()) return;
    for (let left = STRIDE; left > 0; left--) {
      const { value: cell, done } = cells.next();
      if (done === true) return;
      if (cell.quiet && !cell.stopping && !cell.keptByTimer) void cell.stop(reason, limitMs);
    }
    setImmediate(walk);
  };
  walk();
}
