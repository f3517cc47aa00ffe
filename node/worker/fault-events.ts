// Tells the primary of each session that crashed or was killed, but not of more than the world can read: an application in which
// every request crashes must not flood the registry as well. What is left out is counted.

import { messageOf, type SessionId } from "#proto";
import type { FaultEvent } from "../ipc.ts";
import type { EndReason } from "../session/end-reason.ts";
import { SessionKilled } from "../session/session-killed.ts";

/** Events at once. Too small: the end of a worker's sessions by one bug is half told. */
const BURST_MAX = 100;
/** And then so many a second. */
const PER_SECOND_MAX = 20;

export class FaultEvents {
  readonly #worker: number;
  readonly #tell: (event: FaultEvent) => void;
  readonly #now: () => number;
  #left = BURST_MAX;
  #countedMs: number;
  #dropped = 0;

  constructor(worker: number, tell: (event: FaultEvent) => void, now: () => number = () => performance.now()) {
    this.#worker = worker;
    this.#tell = tell;
    this.#now = now;
    this.#countedMs = now();
  }

  /** Of each session that ended, however. */
  note(id: SessionId, kind: EndReason, error: unknown): void {
    if (kind !== "crashed" && kind !== "killed") return;
    if (!this.#mayTell()) {
      this.#dropped++;
      return;
    }
    const dropped = this.#dropped;
    this.#dropped = 0;
    const durationMs = error instanceof SessionKilled ? error.durationMs : undefined;
    this.#tell({
      kind,
      session: id.key,
      worker: this.#worker,
      reason: reasonOf(error),
      ...(durationMs === undefined ? {} : { durationMs }),
      message: messageOf(error),
      at: new Date().toISOString(),
      ...(dropped === 0 ? {} : { dropped }),
    });
  }

  #mayTell(): boolean {
    const nowMs = this.#now();
    this.#left = Math.min(BURST_MAX, this.#left + ((nowMs - this.#countedMs) / 1_000) * PER_SECOND_MAX);
    this.#countedMs = nowMs;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/** Session code may throw anything, a value whose getters throw included. */
function reasonOf(error: unknown): string {
  try {
    if (error instanceof SessionKilled) return error.reason;
    return error instanceof Error && typeof error.name === "string" ? error.name.slice(0, 100) : typeof error;
  } catch {
    return "unknown";
  }
}
