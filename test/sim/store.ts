// The fenced store that sessions write through, as docs/protocol.md tells users to build one: a claim below the stored token is refused,
// a write with another token is refused. One map, so each operation is atomic; what makes it hard is that requests arrive late.

import { compareFences, type Fence } from "#proto";
import type { Random } from "./random.ts";
import type { Process, Timeline } from "./timeline.ts";

interface Row {
  fence: Fence;
  value: number;
}

export interface StoreEvents {
  /** A server has claimed the name and will be told this value. */
  read(key: string, fence: Fence, value: number): void;
  /** A write was accepted. */
  wrote(key: string, fence: Fence, value: number): void;
}

export class Store {
  readonly #timeline: Timeline;
  readonly #random: Random;
  readonly #rows = new Map<string, Row>();
  refusals = 0;
  /** Longest way of a request to the store and back. */
  slowMs = 5;

  readonly #events: StoreEvents;

  constructor(timeline: Timeline, random: Random, events: StoreEvents) {
    this.#timeline = timeline;
    this.#random = random;
    this.#events = events;
  }

  /** The value, with the right to write; undefined when a later server has claimed it. */
  claim(process: Process, key: string, fence: Fence, done: (value: number | undefined) => void): void {
    this.#request(
      process,
      () => {
        const row = this.#rows.get(key);
        if (row !== undefined && compareFences(fence, row.fence) < 0) return this.#refused();
        this.#events.read(key, fence, row?.value ?? 0);
        this.#rows.set(key, { fence, value: row?.value ?? 0 });
        return row?.value ?? 0;
      },
      done,
    );
  }

  /** The value as written; undefined when refused. */
  write(process: Process, key: string, fence: Fence, value: number, done: (value: number | undefined) => void): void {
    this.#request(
      process,
      () => {
        const row = this.#rows.get(key);
        if (row === undefined || compareFences(fence, row.fence) !== 0) return this.#refused();
        this.#events.wrote(key, fence, value);
        row.value = value;
        return value;
      },
      done,
    );
  }

  #refused(): undefined {
    this.refusals++;
    return undefined;
  }

  #request(process: Process, operation: () => number | undefined, done: (value: number | undefined) => void): void {
    this.#timeline.after(this.#random.next() * this.slowMs, undefined, () => {
      const value = operation();
      this.#timeline.after(this.#random.next() * this.slowMs, process, () => done(value));
    });
  }
}
