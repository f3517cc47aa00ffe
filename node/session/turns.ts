// Keeps sessions apart in time. A turn that the watchdog ends by force takes along the frames below it and the microtasks queued
// behind it, so in a worker each session enters on a turn of the event loop of its own: nothing of a neighbour is there to be lost.
// What waits for its turn is kept here, in plain data, because Node's own queue of immediates is torn with the turn that it runs.
// Never decides whether a session may run for any other reason: that is its gate's business.

import { AsyncLocalStorage } from "node:async_hooks";
import { rebook, setBooked } from "./immediates.ts";

/** A session, or one piece of its work. */
export interface Resumable {
  resume(): void;
}

/** Who was in the middle of a turn when its frames were torn off. */
export interface Torn {
  torn(error: unknown): void;
}

// Before anybody replaces it.
const nextTick = process.nextTick;
const leave = AsyncLocalStorage.snapshot();

/** Where `progress` is counted: see the watchdog. */
export const TURN_COUNT = 0;

class Turns {
  /** Undefined: no watchdog, so every entry may be made at once. */
  #progress: Int32Array | undefined = undefined;
  /** Who has this turn of the event loop. */
  #owner: Resumable | undefined = undefined;
  /** The code that runs now is the first of its turn: nothing of another session is below or behind it. */
  #top = false;
  #torn: Torn | undefined = undefined;
  /** In the order of arrival, each once. Bounded: a session stands in it once, and what else does belongs to one of its bounded events. */
  readonly #waiting = new Set<Resumable>();

  /** From now on entries are kept apart, and counted in `progress`. */
  isolate(progress: Int32Array): void {
    this.#progress = progress;
  }

  /** Back to entering at once, for a worker whose watchdog cannot end a turn: there is nothing to keep apart from. */
  mingle(): void {
    this.#progress = undefined;
    for (const work of this.#waiting) {
      this.#waiting.delete(work);
      work.resume();
    }
  }

  /** True: the session may be entered now. False: `queue` it. */
  take(session: Resumable): boolean {
    if (this.#progress === undefined || this.#owner === session) return true;
    if (!this.#top || this.#owner !== undefined) return false;
    this.#own(session);
    // Runs when the synchronous part of this turn is over, also when that was torn off.
    leave(() => nextTick(forgetOwner, this));
    return true;
  }

  /** The session's `resume` is called on a turn of its own. */
  queue(session: Resumable): void {
    if (this.#progress === undefined) {
      session.resume();
      return;
    }
    if (this.#waiting.has(session)) return;
    this.#waiting.add(session);
    this.#arm();
  }

  /** Runs `work` on a turn of its own; at once where sessions are not kept apart. */
  soon(work: () => void): void {
    if (this.#progress === undefined) work();
    else this.queue({ resume: work });
  }

  /** Sessions are kept apart. */
  get areApart(): boolean {
    return this.#progress !== undefined;
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
   * Runs `fn`, which may enter a session at once. MUST only be called from the first frame of a callback of the event loop that
   * serves one client. Should the turn be torn off, neither `fn` nor its caller go on; `torn` hears of it later.
   */
  top<Result>(torn: Torn | undefined, fn: () => Result): Result {
    if (this.#progress === undefined || this.#top) return fn();
    this.#top = true;
    this.#torn = torn;
    try {
      return fn();
    } finally {
      this.#top = false;
      this.#torn = undefined;
    }
  }

  /** The same for a timer, which Node never calls in the turn of another one. */
  timer(fn: () => void): void {
    this.#owner = undefined;
    this.top(undefined, fn);
  }

  /** A turn was torn off: tells those who were in the middle of it, and goes on with what waits. */
  mend(error: unknown): void {
    const torn = this.#torn;
    this.#top = false;
    this.#torn = undefined;
    this.#owner = undefined;
    rebook();
    torn?.torn(error);
  }

  forgetOwner(): void {
    this.#owner = undefined;
  }

  #own(session: Resumable): void {
    this.#owner = session;
    const progress = this.#progress;
    // Only this thread writes, so nothing atomic is needed.
    if (progress !== undefined) progress[TURN_COUNT] = (progress[TURN_COUNT] ?? 0) + 1;
  }

  /** One immediate for each that waits: between two of them Node runs all microtasks. */
  #arm(): void {
    leave(() => setBooked(this.#next, []));
  }

  readonly #next = (): void => {
    const [work] = this.#waiting;
    if (work === undefined) return;
    this.#waiting.delete(work);
    this.#own(work);
    try {
      work.resume();
    } finally {
      this.#owner = undefined;
    }
  };
}

function forgetOwner(of: Turns): void {
  of.forgetOwner();
}

export const turns = new Turns();
