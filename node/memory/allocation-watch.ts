// Who allocates in this worker, and who must have kept it: watches the turns of its sessions from `open` to `close`. Costs some 2 us a turn
// and a promise meanwhile, and nothing else.

import { getHeapStatistics } from "node:v8";
import type { Cell } from "../session/cell.ts";
import { AllocationBook, type Amount, type HeapReading } from "./allocation-book.ts";
import { GrowthProof, type Kept } from "./growth-proof.ts";
import { watchTurns } from "./turn-borders.ts";

/** A leak that matters is among the first few, unless most of what is allocated is garbage of others. */
const LEADERS_MAX = 8;

export class AllocationWatch {
  readonly #proof = new GrowthProof<Cell>();
  #open: { readonly book: AllocationBook<Cell>; readonly end: () => void } | undefined;
  /** Of the time before the last full collection. */
  #leaders: readonly Cell[] = [];

  open(nowMs: number): void {
    if (this.#open !== undefined) return;
    const book = new AllocationBook<Cell>(readHeap);
    this.#open = { book, end: watchTurns((cell) => book.switchTo(cell)) };
    this.#proof.begin(inUse(), nowMs);
  }

  close(): void {
    this.#open?.end();
    this.#open = undefined;
    this.#leaders = [];
    this.#proof.begin(inUse(), 0);
  }

  /** What was seen so far counts no longer: somebody has been ended for it. */
  restart(nowMs: number): void {
    this.#open?.book.take();
    this.#leaders = [];
    this.#proof.begin(inUse(), nowMs);
  }

  /** After a full collection. */
  collected(nowMs: number): void {
    if (this.#open === undefined) return;
    const { book } = this.#open;
    this.#leaders = book.leaders(LEADERS_MAX);
    this.#proof.collected(inUse(), book.take(), nowMs);
  }

  /** Those that allocate most, a few. */
  leaders(): ReadonlySet<Cell> {
    return new Set([...(this.#open?.book.leaders(LEADERS_MAX) ?? []), ...this.#leaders]);
  }

  most(): Kept<Cell> | undefined {
    return this.#proof.most();
  }
}

function inUse(): Amount {
  const { usedBytes, bufferBytes } = readHeap();
  return { heapBytes: usedBytes, bufferBytes };
}

function readHeap(): HeapReading {
  const statistics = getHeapStatistics();
  return {
    usedBytes: statistics.used_heap_size,
    allocatedBytes: statistics.total_allocated_bytes,
    bufferBytes: statistics.external_memory,
  };
}
