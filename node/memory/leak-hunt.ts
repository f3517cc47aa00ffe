// Finds the session that grows while its worker runs short of memory. It measures all sessions that were active, again and again, a few
// milliseconds at a time, and those that allocate most in between; one whose own objects have become more at each of several looks is
// named. What it shares with other sessions is not counted. Never ends anything itself, and costs nothing while nobody asks.

import type { Footprint } from "./footprint.ts";
import { GrowthTrack, type Look } from "./growth-track.ts";

/** Passes are so far apart, at least. */
const PASS_MS = 150;
/** Sessions of one pass; the next one goes on behind them. Too large: with a million active sessions no pass would ever end. */
const PASS_MAX = 5_000;
/** Those that were found to hold most are looked at in each pass. */
const LARGEST_MAX = 20;
/** While it is urgent, one pass in so many is over all of them, and the others over those that hold most: a few in a tenth of a second. */
const URGENT_WHOLE_PASSES = 8;
/** Other sessions that are asked whether they hold the same objects. */
const WITNESSES_MAX = 24;

export interface Hunted {
  readonly ended: boolean;
}

/** Sessions in books between two chances to pause. */
const STRIDE = 1_000;

export interface LeakHuntOptions<Session extends Hunted> {
  /** Those that may have grown lately, in an order that lasts. Undefined: a chance to pause. */
  readonly sessions: () => Iterable<Session | undefined>;
  /** Those that allocate most, a few. They are looked at in between, since they are the likeliest to grow fast. */
  readonly leaders: () => Iterable<Session>;
  /** `foreign`: objects at which the walk ends, beside those at which it always does. */
  readonly measure: (session: Session, foreign: (object: object) => boolean) => Generator<void, Footprint>;
  /** Once for each session whose objects cannot even be looked at; it is taken for empty. */
  readonly onUnmeasurable: (session: Session, error: unknown) => void;
  /** Less growth is nobody's fault. */
  readonly growthBytesMin: number;
  readonly now: () => number;
}

export interface Finding<Session> {
  readonly session: Session;
  readonly bytes: number;
  readonly grownBytes: number;
  /** In so much time. */
  readonly grownMs: number;
}

type Measured = Footprint & Look;

const NONE: ReadonlySet<object> = new Set();
const NOTHING: Measured = { bytes: 0, seen: NONE, tookMs: 0 };

export class LeakHunt<Session extends Hunted> {
  readonly #options: LeakHuntOptions<Session>;
  /** Of sessions seen in this hunt; those that ended leave at the end of each pass. */
  readonly #tracks = new Map<Session, GrowthTrack>();
  readonly #unmeasurable = new WeakSet<Session>();
  #going: Generator<"on" | "rest", void> | undefined;
  #found: Finding<Session> | undefined;
  #urgent = false;
  /** Over all active sessions, in as many passes as it takes. */
  #round: Iterator<Session | undefined> | undefined;
  #leadersMs = 0;
  /** Since the last one over all of them. */
  #urgentPasses = 0;

  constructor(options: LeakHuntOptions<Session>) {
    this.#options = options;
  }

  /** Goes on for `sliceMs`, or until it has found somebody. `urgent`: the heap is nearly full, so less proof must do. */
  run(sliceMs: number, urgent: boolean): Finding<Session> | undefined {
    this.#urgent = urgent;
    this.#going ??= this.#hunt();
    const endMs = this.#options.now() + sliceMs;
    do {
      if (this.#going.next().value === "rest") break;
    } while (this.#found === undefined && this.#options.now() < endMs);
    const found = this.#found;
    this.#found = undefined;
    return found;
  }

  /** The one that holds most, by the last looks. */
  largest(): { readonly session: Session; readonly bytes: number } | undefined {
    let largest: { readonly session: Session; readonly bytes: number } | undefined;
    for (const [session, { bytes }] of this.#tracks) {
      if (!session.ended && bytes > (largest?.bytes ?? 0)) largest = { session, bytes };
    }
    return largest;
  }

  /** Forgets all that was seen. */
  reset(): void {
    this.#going = undefined;
    this.#round = undefined;
    this.#tracks.clear();
  }

  *#hunt(): Generator<"on" | "rest", void> {
    for (;;) {
      const beganMs = this.#options.now();
      const hurried = this.#urgent;
      for (const session of this.#ofThisPass()) {
        if (session === undefined) yield "on";
        else if (!session.ended) yield* this.#look(session);
        yield* this.#lookAtLeaders();
        // It has become urgent: the end of a pass over thousands may come too late.
        if (this.#urgent && !hurried) break;
      }
      yield* this.#judge(this.#tracks);
      while (this.#options.now() - beganMs < PASS_MS) {
        yield "rest";
        yield* this.#lookAtLeaders();
      }
    }
  }

  *#lookAtLeaders(): Generator<"on", void> {
    const nowMs = this.#options.now();
    if (nowMs - this.#leadersMs < PASS_MS) return;
    this.#leadersMs = nowMs;
    const leaders = [...this.#options.leaders()].filter((session) => !session.ended);
    for (const session of leaders) yield* this.#look(session);
    const tracks = leaders.flatMap((session): [Session, GrowthTrack][] => {
      const track = this.#tracks.get(session);
      return track === undefined ? [] : [[session, track]];
    });
    yield* this.#judge(tracks);
  }

  *#ofThisPass(): Generator<Session | undefined, void> {
    const largest = yield* this.#largest();
    yield* largest;
    if (this.#urgent && this.#tracks.size > 0 && ++this.#urgentPasses < URGENT_WHOLE_PASSES) return;
    this.#urgentPasses = 0;
    for (let left = PASS_MAX; left > 0; left--) {
      this.#round ??= this.#options.sessions()[Symbol.iterator]();
      const { done, value } = this.#round.next();
      if (done === true) {
        this.#round = undefined;
        return;
      }
      if (value === undefined || !largest.has(value)) yield value;
    }
  }

  *#largest(): Generator<undefined, ReadonlySet<Session>> {
    const largest: { readonly session: Session; readonly bytes: number }[] = [];
    let seen = 0;
    for (const [session, { bytes }] of this.#tracks) {
      if (++seen % STRIDE === 0) yield undefined;
      if (bytes <= (largest[LARGEST_MAX - 1]?.bytes ?? -1)) continue;
      const at = largest.findIndex((one) => one.bytes < bytes);
      largest.splice(at === -1 ? largest.length : at, 0, { session, bytes });
      largest.length = Math.min(largest.length, LARGEST_MAX);
    }
    return new Set(largest.map(({ session }) => session));
  }

  *#look(session: Session): Generator<"on", void> {
    const track = this.#tracks.get(session);
    if (track?.due(this.#options.now()) === false) return;
    const look = yield* this.#measured(session, track?.shared ?? NONE);
    if (track === undefined) this.#tracks.set(session, this.#newTrack(look, NONE));
    else track.add(lookOf(look), this.#options.now());
  }

  #newTrack(look: Measured, shared: ReadonlySet<object>): GrowthTrack {
    return new GrowthTrack(lookOf(look), this.#options.now(), shared);
  }

  /** Names the one of them that grew most, if that is enough. */
  *#judge(tracks: Iterable<[Session, GrowthTrack]>): Generator<"on", void> {
    let most: [Session, GrowthTrack] | undefined;
    let seen = 0;
    for (const [session, track] of tracks) {
      if (++seen % STRIDE === 0) yield "on";
      if (session.ended) {
        this.#tracks.delete(session);
        continue;
      }
      if (!track.rises(this.#options.now(), this.#urgent)) continue;
      if (track.grownBytes < this.#options.growthBytesMin) continue;
      if (most === undefined || track.grownBytes > most[1].grownBytes) most = [session, track];
    }
    if (most !== undefined && (yield* this.#growsAlone(...most))) yield* this.#name(...most);
  }

  /** False: what grew is not its own, as far as other sessions show; from now on that does not count. */
  *#growsAlone(session: Session, track: GrowthTrack): Generator<"on", boolean> {
    const { seen, bytes } = yield* this.#measured(session, track.shared);
    const shared = new Set<object>();
    let witnesses = WITNESSES_MAX;
    for (const other of this.#options.sessions()) {
      if (other === undefined) yield "on";
      if (other === undefined || other === session || other.ended) continue;
      if (witnesses-- === 0) break;
      yield* this.#measured(other, (object) => {
        if (!seen.has(object)) return false;
        shared.add(object);
        return true;
      });
    }
    if (shared.size === 0) return true;
    const without = yield* this.#measured(session, new Set([...track.shared, ...shared]));
    // Small things are often shared, such as a constant of the application.
    if (bytes - without.bytes < track.grownBytes / 4) return true;
    this.#tracks.set(session, this.#newTrack(without, new Set([...track.shared, ...shared])));
    return false;
  }

  *#measured(
    session: Session,
    foreign: ReadonlySet<object> | ((object: object) => boolean),
  ): Generator<"on", Measured> {
    const isForeign = typeof foreign === "function" ? foreign : (object: object) => foreign.has(object);
    if (this.#unmeasurable.has(session)) return NOTHING;
    const walking = this.#options.measure(session, isForeign);
    let tookMs = 0;
    for (;;) {
      let step: IteratorResult<void, Footprint>;
      const beganMs = this.#options.now();
      try {
        step = walking.next();
      } catch (error) {
        this.#unmeasurable.add(session);
        this.#options.onUnmeasurable(session, error);
        return NOTHING;
      }
      tookMs += this.#options.now() - beganMs;
      // After each one, however small: there may be thousands of them.
      yield "on";
      if (step.done === true) return { ...step.value, tookMs };
    }
  }

  *#name(session: Session, track: GrowthTrack): Generator<"on", void> {
    const { bytes, grownBytes, sinceMs } = track;
    this.#tracks.delete(session);
    if (session.ended) return;
    this.#found = { session, bytes, grownBytes, grownMs: Math.round(this.#options.now() - sinceMs) };
    yield "on";
  }
}

/** Without what was seen, which would be kept alive. */
function lookOf({ bytes, tookMs }: Look): Look {
  return { bytes, tookMs };
}
