// Keeps sessions apart in time. A turn that the watchdog ends by force takes along the frames below it and the microtasks queued
// behind it, so in a worker each session enters on a turn of the event loop of its own: nothing of a neighbour is there to be lost.
// What waits for its turn is kept here, in plain data, because Node's own queue of immediates is torn with the turn that it runs.
// Never decides whether a session may run for any other reason: that is its gate's business.

import { outside } from "./current.ts";
import { book, rebook } from "./immediates.ts";
import { Line } from "./line.ts";

/** A session, or one piece of its work. */
export interface Resumable {
  /** It waits for its turn. Only `turns` writes it. */
  queued: boolean;
  resume(): void;
}

/** Who was in the middle of a turn when its frames were torn off. */
export interface Torn {
  torn(error: unknown): void;
}

/** Waits for a turn in which the session that it enters first is entered at once. */
type Arrival = Resumable & Torn;

/**
 * Turns between two looks of the event loop at its sockets: when thousands wait, as after a node's death, requests of others come in between. Too
 * small: the looks cost more than the turns.
 */
const TURNS_A_LOOP = 64;

// Before anybody replaces it.
const nextTick = process.nextTick;

/** Where `progress` is counted: see the watchdog. */
export const TURN_COUNT = 0;

class Turns {
  /** Undefined: no watchdog, so every entry may be made at once. */
  #progress: Int32Array | undefined = undefined;
  /** Who has this turn of the event loop, or had the last one that `#client` began. */
  #owner: Resumable | undefined = undefined;
  /** The code that runs now is the first of its turn: nothing of another session is below or behind it. */
  #top = false;
  #client: object | undefined = undefined;
  #torn: Torn | undefined = undefined;
  /** Who is to hear of a turn that was torn off. Between that and `mend` other turns may run. */
  readonly #tornOff = new Set<Torn>();
  /**
   * In the order of arrival, each once. Bounded: a session stands in it once, and what else does belongs to one of its bounded events, or to
   * one of the bounded exchanges of a link.
   */
  readonly #waiting = new Line<Resumable | Arrival>();
  /** Immediates under way, each of which takes one that waits. */
  #armed = 0;

  /** From now on entries are kept apart, and counted in `progress`. */
  isolate(progress: Int32Array): void {
    this.#progress = progress;
  }

  /** Back to entering at once, for a worker whose watchdog cannot end a turn: there is nothing to keep apart from. */
  mingle(): void {
    this.#progress = undefined;
    for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) {
      work.queued = false;
      work.resume();
    }
  }

  /** True: the session may be entered now. False: `queue` it. */
  take(session: Resumable): boolean {
    if (this.#progress === undefined) return true;
    if (!this.#top) return false;
    if (this.#owner === session) return true;
    if (this.#owner !== undefined) return false;
    this.#own(session);
    return true;
  }

  /** The session's `resume` is called on a turn of its own. */
  queue(session: Resumable): void {
    if (this.#progress === undefined) {
      session.resume();
      return;
    }
    if (session.queued) return;
    session.queued = true;
    this.#waiting.push(session);
    this.#arm();
  }

  /** Calls `resume` of each on a turn of its own, which the first session that it enters may have. */
  readonly apart = (arrival: Arrival): void => this.queue(arrival);

  /** Runs `work` on a turn of its own; at once where sessions are not kept apart. */
  soon(work: () => void): void {
    if (this.#progress === undefined) work();
    else this.queue({ queued: false, resume: work });
  }

  /** Sessions are kept apart. */
  get areApart(): boolean {
    return this.#progress !== undefined;
  }

  /**
   * Runs `work` when this turn's microtasks are over, and also when they were torn off. Cheaper than a turn of its own, and enough for
   * what runs no session code.
   */
  behind(work: () => void): void {
    if (this.#progress === undefined) work();
    else nextTick(work);
  }

  /** Resolves on a turn of its own. */
  next(): Promise<void> {
    return new Promise((resolve) => this.soon(resolve));
  }

  /** Settles as `promise` does, but on a turn of its own: for answers that come in one turn for many sessions. */
  alone<Value>(promise: Promise<Value>): Promise<Value> {
    if (this.#progress === undefined) return promise;
    const { promise: later, resolve, reject } = Promise.withResolvers<Value>();
    promise.then(
      (value) => this.soon(() => resolve(value)),
      (error: unknown) => this.soon(() => reject(error)),
    );
    return later;
  }

  /**
   * What runs until `leaveTop` may enter a session at once. MUST only be called from the first frame of a callback of the event loop that
   * serves `client` alone. Should the turn be torn off, nothing of it goes on, and `torn` hears of it later.
   * @returns true: `leaveTop` MUST follow, whatever happens
   */
  enterTop(client: object | undefined, torn: Torn | undefined): boolean {
    if (this.#progress === undefined || this.#top) return false;
    // One client's requests may all come in one turn. Another client's, or a timer, is another turn.
    if (client === undefined || client !== this.#client) this.#owner = undefined;
    this.#client = client;
    this.#top = true;
    this.#torn = torn;
    return true;
  }

  leaveTop(): void {
    this.#top = false;
    this.#torn = undefined;
  }

  /** The turn that runs is about to be torn off; `mend` MUST follow on another one. */
  tear(): void {
    if (this.#torn !== undefined) this.#tornOff.add(this.#torn);
    this.leaveTop();
    this.#owner = undefined;
  }

  /** A turn was torn off: goes on with what waits, and tells those who were in the middle of it. */
  mend(error: unknown): void {
    rebook();
    // One that was torn off while it was counted must not count for ever.
    this.#armed = Math.min(this.#armed, TURNS_A_LOOP - 1);
    if (this.#waiting.length > 0) this.#arm();
    for (const torn of this.#tornOff) {
      this.#tornOff.delete(torn);
      torn.torn(error);
    }
  }

  #own(session: Resumable): void {
    this.#owner = session;
    const progress = this.#progress;
    // Only this thread writes, so nothing atomic is needed.
    if (progress !== undefined) progress[TURN_COUNT] = (progress[TURN_COUNT] ?? 0) + 1;
  }

  /** An immediate for each, because between two of them Node runs all microtasks. */
  #arm(): void {
    if (this.#armed >= TURNS_A_LOOP) return;
    this.#armed++;
    outside(() => book(this.#next));
  }

  readonly #next = (): void => {
    this.#armed--;
    const work = this.#waiting.shift();
    if (work === undefined) return;
    // Before anything can be torn off. What is made while immediates run is run in the next loop.
    if (this.#waiting.length > this.#armed) this.#arm();
    work.queued = false;
    if ("torn" in work) this.#torn = work;
    else this.#own(work);
    this.#client = undefined;
    this.#top = true;
    try {
      work.resume();
    } finally {
      this.leaveTop();
      this.#owner = undefined;
    }
  };
}

export const turns = new Turns();
