// Who allocates how much, booked between the borders of turns. Pure: readings and borders in, bytes by session out. What is booked may be
// garbage already: the book tells who could have kept something, never who did.

/** Of the process. All but what is in use only ever grow. */
export interface HeapReading {
  readonly usedBytes: number;
  readonly allocatedBytes: number;
  readonly bufferBytes: number;
}

export interface Amount {
  readonly heapBytes: number;
  readonly bufferBytes: number;
}

/** Each reading gives back what V8 had set aside for small objects, and V8 counts it as allocated: up to so much. */
const SET_ASIDE_BYTES = 512 * 1024;

export class AllocationBook<Session extends object> {
  readonly #read: () => HeapReading;
  #last: HeapReading;
  #runs: Session | undefined = undefined;
  /** Undefined: what belongs to no session. Bounded by the sessions that ran since it was taken. */
  #amounts = new Map<Session | undefined, { heapBytes: number; bufferBytes: number }>();

  constructor(read: () => HeapReading) {
    this.#read = read;
    this.#last = read();
  }

  /** A border: from now on this one runs. Returns who ran before. */
  switchTo(session: Session | undefined): Session | undefined {
    const before = this.#runs;
    if (session === before) return before;
    this.#book();
    this.#runs = session;
    return before;
  }

  /** The same, and how much of the heap was allocated since the last border. */
  turn(session: Session | undefined): { readonly before: Session | undefined; readonly bytes: number } {
    const before = this.#runs;
    const bytes = this.#book();
    this.#runs = session;
    return { before, bytes };
  }

  /** What was allocated since the last border is left out. */
  skip(): void {
    this.#last = this.#read();
  }

  /** What was allocated since the last call. */
  take(): ReadonlyMap<Session | undefined, Amount> {
    this.#book();
    const amounts = this.#amounts;
    this.#amounts = new Map();
    return amounts;
  }

  /** Those who have allocated most since the last `take`, `count` at most. */
  leaders(count: number): Session[] {
    const leaders: { readonly session: Session; readonly bytes: number }[] = [];
    for (const [session, { heapBytes, bufferBytes }] of this.#amounts) {
      const bytes = heapBytes + bufferBytes;
      if (session === undefined || bytes <= (leaders[count - 1]?.bytes ?? 0)) continue;
      const at = leaders.findIndex((leader) => leader.bytes < bytes);
      leaders.splice(at === -1 ? leaders.length : at, 0, { session, bytes });
      leaders.length = Math.min(leaders.length, count);
    }
    return leaders.map(({ session }) => session);
  }

  #book(): number {
    const last = this.#last;
    const now = (this.#last = this.#read());
    // Exact, unless garbage was collected in between; then the other one is near enough for those that matter.
    const used = now.usedBytes - last.usedBytes;
    const heapBytes = Math.max(0, used, now.allocatedBytes - last.allocatedBytes - SET_ASIDE_BYTES);
    const bufferBytes = Math.max(0, now.bufferBytes - last.bufferBytes);
    if (heapBytes === 0 && bufferBytes === 0) return 0;
    const amount = this.#amounts.get(this.#runs);
    if (amount === undefined) this.#amounts.set(this.#runs, { heapBytes, bufferBytes });
    else {
      amount.heapBytes += heapBytes;
      amount.bufferBytes += bufferBytes;
    }
    return heapBytes;
  }
}
