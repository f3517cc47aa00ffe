// What a worker and an enclosure of its own say to each other beside the session's traffic, and the memory they share. Both ends are of
// one version and one machine, so the messages are trusted; they are JSON.

import type { Fence } from "#proto";
import type { EndReason, StopReason } from "../session/end-reason.ts";
import type { ClientErrors } from "../session/failure-text.ts";

/** The one session of an enclosure, and what it needs to run. */
export interface EnclosedBoot {
  /** Path of the application module. */
  readonly app: string;
  readonly node: string;
  readonly worker: number;
  readonly log: "json" | "text";
  readonly clientErrors: ClientErrors;
  readonly key: string;
  readonly fence: Fence;
  /** See `deadline`. */
  readonly deadline: number;
}

export type ToEnclosed =
  | { readonly type: "boot"; readonly boot: EnclosedBoot }
  /** The node may act until then, on the system clock. */
  | { readonly type: "deadline"; readonly deadline: number }
  /** End in order as soon as nothing is under way. */
  | { readonly type: "drain" }
  | { readonly type: "stop"; readonly reason: StopReason; readonly limitMs: number }
  /** The session has ended and nobody waits for anything any more. */
  | { readonly type: "exit" };

/** What the registry tells of the session, as of a moment ago. */
export interface EnclosedState {
  readonly state: string;
  readonly sockets: number;
  readonly inFlight: number;
  readonly timers: number;
  readonly lastActiveAt: string;
}

export interface ToldError {
  readonly message: string;
  readonly stack?: string | undefined;
}

export type FromEnclosed =
  /** The application is loaded and the session begins. */
  | { readonly type: "ready" }
  | { readonly type: "state"; readonly state: EnclosedState }
  /** It ended by itself; what it owed follows. */
  | { readonly type: "ended"; readonly reason: EndReason; readonly error?: ToldError }
  /** The application could not be loaded, or an error got past every net: nothing more will come. */
  | { readonly type: "failed"; readonly error: ToldError };

/** The thread that runs the session writes it, whoever watches that thread reads it. */
export type ProgressRecord = Int32Array<SharedArrayBuffer>;

/** Rises while the event loop moves; 0: not watched yet. */
const COUNT = 0;

export function newProgressRecord(): ProgressRecord {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

export function countProgress(record: ProgressRecord): void {
  Atomics.add(record, COUNT, 1);
}

export function progressOf(record: ProgressRecord): number {
  return Atomics.load(record, COUNT);
}
