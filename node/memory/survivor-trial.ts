// A look at what a few suspected sessions keep of what they make: some turns of each are put under a profile, and when some time has gone by
// without them, what is left of these turns tells for all that it has made meanwhile.

import type { AllocationBook } from "./allocation-book.ts";
import { PROFILED_MAX, SurvivorProfile } from "./survivor-profile.ts";
import type { Trial } from "./survivors.ts";

/** Turns of one session under the profile. Too few: chance decides; too many: the marks alone fill a small heap. */
const TURNS_MAX = 8;
const TURNS_MIN = 3;
/** Less is too little to tell from chance. */
const PROFILED_BYTES_MIN = 32 * 1024;
/** So long turns are put under the profile, and so long after the beginning is looked at what is left of them: no request lives so long. */
const PROFILE_MS = 600;
export const TRIAL_MS = 1_500;

interface Suspect {
  readonly number: number;
  turns: number;
  /** In turns under the profile. */
  profiledBytes: number;
  /** In all turns. */
  bytes: number;
}

export class SurvivorTrial<Session extends object> {
  readonly beganMs: number;
  readonly #book: AllocationBook<Session>;
  readonly #now: () => number;
  readonly #profile = new SurvivorProfile();
  readonly #suspects = new Map<Session, Suspect>();
  /** Who runs, if it is one of them. */
  #running: { readonly session: Session; readonly suspect: Suspect; readonly profiled: boolean } | undefined;

  constructor(suspects: Iterable<Session>, book: AllocationBook<Session>, now: () => number) {
    this.#book = book;
    this.#now = now;
    this.beganMs = now();
    for (const session of suspects) {
      const number = this.#suspects.size;
      if (number < PROFILED_MAX) this.#suspects.set(session, { number, turns: 0, profiledBytes: 0, bytes: 0 });
    }
  }

  /** As `AllocationBook.switchTo`. */
  switchTo(session: Session | undefined): Session | undefined {
    const running = this.#running;
    if (session === running?.session) return session;
    const suspect = session === undefined ? undefined : this.#suspects.get(session);
    if (running === undefined && suspect === undefined) return this.#book.switchTo(session);
    const { before, bytes } = this.#book.turn(session);
    this.#running = undefined;
    if (running !== undefined) {
      running.suspect.bytes += bytes;
      if (running.profiled) {
        running.suspect.profiledBytes += bytes;
        this.#profile.turnEnds();
      }
    }
    if (session !== undefined && suspect !== undefined) {
      const profiled = suspect.turns < TURNS_MAX && this.#now() - this.beganMs < PROFILE_MS;
      if (profiled) {
        suspect.turns++;
        this.#profile.turnBegins(suspect.number);
      }
      this.#running = { session, suspect, profiled };
    }
    // Marks are nobody's.
    this.#book.skip();
    return before;
  }

  /** Stops the process for a full collection. */
  finish(liveBytes: () => number): Trial<Session> {
    const survivors = this.#profile.stop();
    const kept = new Map<Session, number>();
    for (const [session, { number, turns, profiledBytes, bytes }] of this.#suspects) {
      if (turns < TURNS_MIN || profiledBytes < PROFILED_BYTES_MIN) continue;
      kept.set(session, bytes * Math.min(1, (survivors.get(number) ?? 0) / profiledBytes));
    }
    return { kept, beganMs: this.beganMs, endedMs: this.#now(), liveBytes: liveBytes() };
  }

  abort(): void {
    this.#profile.stop();
  }
}
