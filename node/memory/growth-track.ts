// How what one session holds has grown, look by look. Pure.

/** Looks at which a session must have grown. Too small: one that loads something once is taken for a leak. */
const RISES_MIN = 3;
const URGENT_RISES_MIN = 2;
/** A rise is more than what the estimate may be wrong by. */
const RISE_BYTES = 64 * 1024;
const RISE_FACTOR = 1.01;
/** One that shrinks by so much gives back what it takes. */
const SHRINK_FACTOR = 0.8;
/** From the first look to the last, unless the heap is nearly full. Too small: a big answer under construction is taken for a leak. */
const GROWING_MS = 3_000;
/** Between two looks: so many times as long as a look takes. Few need it: V8 lists all names of an object in one go. */
const LOOK_PAUSE_FACTOR = 5;

export interface Look {
  readonly bytes: number;
  /** How long it stopped the process, in pieces. */
  readonly tookMs: number;
}

export class GrowthTrack {
  /** What it shares with others, which does not count. */
  readonly shared: ReadonlySet<object>;
  #first: Look;
  #firstMs: number;
  #last: Look;
  #lastMs: number;
  /** The shorter one of the last two looks: others may have stopped the process meanwhile. */
  #costMs: number;
  #highBytes: number;
  #rises = 0;

  constructor(first: Look, nowMs: number, shared: ReadonlySet<object>) {
    this.shared = shared;
    this.#first = this.#last = first;
    this.#firstMs = this.#lastMs = nowMs;
    this.#costMs = first.tookMs;
    this.#highBytes = first.bytes;
  }

  get bytes(): number {
    return this.#last.bytes;
  }

  get grownBytes(): number {
    return this.#last.bytes - this.#first.bytes;
  }

  get sinceMs(): number {
    return this.#firstMs;
  }

  /** The next look may be taken. */
  due(nowMs: number): boolean {
    return nowMs - this.#lastMs >= LOOK_PAUSE_FACTOR * this.#costMs;
  }

  add(look: Look, nowMs: number): void {
    const { bytes, tookMs } = look;
    this.#costMs = Math.min(this.#last.tookMs, tookMs);
    this.#last = look;
    this.#lastMs = nowMs;
    if (bytes < this.#highBytes * SHRINK_FACTOR) {
      this.#first = look;
      this.#firstMs = nowMs;
      this.#highBytes = bytes;
      this.#rises = 0;
    } else if (bytes > this.#highBytes * RISE_FACTOR && bytes > this.#highBytes + RISE_BYTES) {
      this.#highBytes = bytes;
      this.#rises++;
    }
  }

  /** It has become more often enough. `urgent`: the heap is nearly full, so less must do. */
  rises(nowMs: number, urgent: boolean): boolean {
    if (urgent) return this.#rises >= URGENT_RISES_MIN;
    return this.#rises >= RISES_MIN && nowMs - this.#firstMs >= GROWING_MS;
  }
}
