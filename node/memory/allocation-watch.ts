// Who allocates in this worker, and who keeps it: watches the turns of its sessions from `open` to `close`. Costs some 2 us for each turn and
// each continuation meanwhile; nothing before and after.

import { getHeapStatistics } from "node:v8";
import type { Cell } from "../session/cell.ts";
import { AllocationBook, type Amount, type HeapReading } from "./allocation-book.ts";
import { GrowthProof, type Kept } from "./growth-proof.ts";
import { SurvivorTrial, TRIAL_MS } from "./survivor-trial.ts";
import { Survivors } from "./survivors.ts";
import { watchTurns } from "./turn-borders.ts";

/** A leak that matters is among the first few, unless most of what is allocated is garbage of others. */
const LEADERS_MAX = 8;
/** Between two trials, and how many times as long as the last one stopped the process for. */
const TRIAL_PAUSE_MS = 500;
const TRIAL_PAUSE_FACTOR = 4;

export class AllocationWatch {
  readonly #proof = new GrowthProof<Cell>();
  readonly #survivors = new Survivors<Cell>();
  #trial: SurvivorTrial<Cell> | undefined;
  #nextTrialMs = 0;
  #open: { readonly book: AllocationBook<Cell>; readonly end: () => void } | undefined;
  /** Of the time before the last full collection. */
  #leaders: readonly Cell[] = [];

  open(nowMs: number): void {
    if (this.#open !== undefined) return;
    const book = new AllocationBook<Cell>(readHeap);
    this.#open = { book, end: watchTurns((cell) => (this.#trial ?? book).switchTo(cell)) };
    this.#proof.begin(inUse(), nowMs);
  }

  close(): void {
    this.#open?.end();
    this.#open = undefined;
    this.restart(0);
  }

  /** What was seen so far counts no longer: somebody has been ended for it. */
  restart(nowMs: number): void {
    this.#open?.book.take();
    this.#leaders = [];
    this.#proof.begin(inUse(), nowMs);
    this.#survivors.forget();
    this.#trial?.abort();
    this.#trial = undefined;
  }

  /**
   * Goes on with looking at what those that allocate most keep of it. Each trial ends with a full collection, which stops the process; they
   * are so far apart that this takes a fifth of the time at most.
   */
  tryFurther(): void {
    if (this.#open === undefined) return;
    const nowMs = performance.now();
    const trial = this.#trial;
    if (trial === undefined) {
      const leaders = this.leaders();
      if (nowMs < this.#nextTrialMs || leaders.size === 0) return;
      this.#trial = new SurvivorTrial(leaders, this.#open.book, () => performance.now());
      return;
    }
    if (nowMs - trial.beganMs < TRIAL_MS) return;
    this.#trial = undefined;
    this.#survivors.add(trial.finish(() => readHeap().usedBytes));
    const stoppedMs = performance.now() - nowMs;
    this.#nextTrialMs = nowMs + stoppedMs + Math.max(TRIAL_PAUSE_MS, stoppedMs * TRIAL_PAUSE_FACTOR);
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

  /** The one that keeps most of what it makes, as far as that can be told. */
  most(): Kept<Cell> | undefined {
    const proven = this.#proof.most();
    const seen = this.#survivors.most();
    return (proven?.bytes ?? 0) >= (seen?.bytes ?? 0) ? proven : seen;
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
