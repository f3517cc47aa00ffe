// What the main thread of a worker and its watchdog thread share: a small piece of memory, and the words that they exchange. The
// main thread writes it, the watchdog only reads, until its last word.

import { integer, record as recordOf } from "#proto";
import { TURN_COUNT } from "../session/turns.ts";

/** Where the turn budget stands, in milliseconds. */
const BUDGET_MS = 1;
/** Where the memory budget stands, in MiB. */
const HEAP_MIB = 2;
/** Not 0: the thread has let go of the main thread. */
const LET_GO = 3;
/** Where the import budget stands, in milliseconds. */
const IMPORT_MS = 4;
const CELLS = 5;

export type TurnRecord = Int32Array<SharedArrayBuffer>;

export interface Budgets {
  /** One session may hold the main thread for so long. */
  readonly turnBudgetMs: number;
  /** A turn that loads code may hold it for so long. */
  readonly importBudgetMs: number;
  /** The process may grow by so much while one session holds the main thread. */
  readonly turnHeapMiB: number;
}

export function newRecord(): TurnRecord {
  return new Int32Array(new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT));
}

export function setBudgets(record: TurnRecord, { turnBudgetMs, importBudgetMs, turnHeapMiB }: Budgets): void {
  Atomics.store(record, BUDGET_MS, turnBudgetMs);
  Atomics.store(record, IMPORT_MS, importBudgetMs);
  Atomics.store(record, HEAP_MIB, turnHeapMiB);
}

export function budgetsOf(record: TurnRecord): Budgets {
  return {
    turnBudgetMs: Atomics.load(record, BUDGET_MS),
    importBudgetMs: Atomics.load(record, IMPORT_MS),
    turnHeapMiB: Atomics.load(record, HEAP_MIB),
  };
}

/** The event loop has moved on. */
export function countTurn(record: TurnRecord): void {
  record[TURN_COUNT] = (record[TURN_COUNT] ?? 0) + 1;
}

/** Wraps around; only its changes mean something. */
export function turnCountOf(record: TurnRecord): number {
  return Atomics.load(record, TURN_COUNT);
}

/** The last that the thread does. */
export function tellLetGo(record: TurnRecord): void {
  Atomics.store(record, LET_GO, 1);
  Atomics.notify(record, LET_GO);
}

/** Blocks until `tellLetGo`, for `limitMs` at most. */
export function awaitLetGo(record: TurnRecord, limitMs: number): void {
  Atomics.wait(record, LET_GO, 0, limitMs);
}

export interface ThreadStart {
  readonly record: TurnRecord;
  /** An expression whose value on the main thread is the guard. */
  readonly guard: string;
}

/** What the guard says of the turn that runs. */
export interface Look {
  readonly turn: number;
  /** A number for each server that was seen running; 0: no session. */
  readonly server: number;
}

/** From JSON. Throws `bad_frame` when it is something else. */
export function lookOf(value: unknown): Look {
  const { turn, server } = recordOf(value, "look");
  return { turn: integer(turn, "look.turn"), server: integer(server, "look.server") };
}

export type KillReason = "turn budget" | "turn memory" | "import budget";

/** Let go of the main thread, and end. */
export type ToThread = "let go";

export type FromThread =
  | { readonly type: "ready" }
  /** A turn that is no session's takes longer than the budget. Nobody is ended for it. */
  | { readonly type: "ours"; readonly durationMs: number; readonly stack: string }
  /** What runs on the main thread did not let itself be stopped. */
  | { readonly type: "deaf"; readonly durationMs: number };
