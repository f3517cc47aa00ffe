// Which session keeps what it makes, from trials that follow each other. Pure. One that keeps much of what it makes may also give up as much
// of what it had: so it counts only as long as the process grows, and when it explains half of that at least.

import type { Kept } from "./growth-proof.ts";

/** Part of what the process has grown by. */
const SHARE_MIN = 0.5;

export interface Trial<Session> {
  /** What is left of what each of the suspects has made within the trial; those that are not in it keep nothing. */
  readonly kept: ReadonlyMap<Session, number>;
  readonly beganMs: number;
  readonly endedMs: number;
  /** After a full collection at its end. */
  readonly liveBytes: number;
}

export class Survivors<Session extends { readonly ended: boolean }> {
  #last: Trial<Session> | undefined;
  #kept = new Map<Session, { readonly bytes: number; readonly sinceMs: number }>();

  forget(): void {
    this.#last = undefined;
    this.#kept.clear();
  }

  add(trial: Trial<Session>): void {
    const last = this.#last;
    this.#last = trial;
    const before = this.#kept;
    this.#kept = new Map();
    if (last === undefined) return;
    const grownBytes = trial.liveBytes - last.liveBytes;
    if (grownBytes <= 0) return;
    const ms = trial.endedMs - last.endedMs;
    for (const [session, bytes] of trial.kept) {
      // As fast as within the trial.
      const sinceLast = (bytes * ms) / (trial.endedMs - trial.beganMs);
      if (session.ended || sinceLast < SHARE_MIN * grownBytes) continue;
      const { bytes: earlier = 0, sinceMs = last.endedMs } = before.get(session) ?? {};
      this.#kept.set(session, { bytes: earlier + Math.min(sinceLast, grownBytes), sinceMs });
    }
  }

  /** The one that has kept most. */
  most(): Kept<Session> | undefined {
    let most: Kept<Session> | undefined;
    for (const [session, { bytes, sinceMs }] of this.#kept) {
      if (!session.ended && bytes > (most?.bytes ?? 0)) most = { session, bytes, sinceMs };
    }
    return most;
  }
}
