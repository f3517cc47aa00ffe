// Whether a worker is short of memory. Pure: readings and the time in, a level out. What counts is what is left after a full collection;
// what is used in between is mostly garbage, and only tells that it is time to look.

/** Below this part of the mark a worker that was full takes sessions again. Too near to 1: it goes to and fro. */
const EASED = 0.9;

export type PressureLevel =
  /** Nothing to do. */
  | "calm"
  /** The mark was passed, perhaps by garbage. */
  | "watch"
  /** The mark was passed by what is in use. */
  | "full";

export class Pressure {
  readonly #markBytes: number;
  readonly #patienceMs: number;
  #level: PressureLevel = "calm";
  #fullSinceMs = 0;

  constructor(options: { readonly markBytes: number; readonly patienceMs: number }) {
    this.#markBytes = options.markBytes;
    this.#patienceMs = options.patienceMs;
  }

  get level(): PressureLevel {
    return this.#level;
  }

  /** Full for longer than anybody should wait. */
  overdue(nowMs: number): boolean {
    return this.#level === "full" && nowMs - this.#fullSinceMs >= this.#patienceMs;
  }

  /** What is used now, with garbage. */
  used(bytes: number): void {
    if (bytes >= this.#markBytes) {
      if (this.#level === "calm") this.#level = "watch";
    } else if (bytes < this.#markBytes * EASED) this.#level = "calm";
  }

  /** What was left after a full collection. */
  collected(bytes: number, nowMs: number): void {
    if (this.#level === "full") {
      if (bytes < this.#markBytes * EASED) this.#level = "calm";
    } else if (bytes >= this.#markBytes) {
      this.#level = "full";
      this.#fullSinceMs = nowMs;
    }
  }
}
