// The orderly end of a session, step by step: requests under way are answered, `onStop` runs, response bodies and `waitUntil`
// finish. What takes longer than the limit is cut off.

import type { Cell } from "./cell.ts";
import type { Expiring } from "./deadline-sweep.ts";
import type { StopReason } from "./end-reason.ts";
import { turns } from "./turns.ts";

export class OrderlyStop implements Expiring {
  readonly reason: StopReason;
  dueTick = 0;
  place = -1;
  readonly #cell: Cell;
  readonly #limitMs: number;
  readonly #done = Promise.withResolvers<void>();
  #phase: "requests" | "hook" | "rest" = "requests";

  constructor(cell: Cell, reason: StopReason, limitMs: number) {
    this.#cell = cell;
    this.reason = reason;
    this.#limitMs = limitMs;
    cell.kind.host.deadlines.add(this, limitMs);
  }

  /** Resolves when the session has ended. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Something of the session has finished: takes the next step if that is possible now. */
  further(): void {
    const cell = this.#cell;
    if (cell.ended) return;
    if (this.#phase === "requests" && cell.turns === 0) {
      if (!cell.mayAct()) return;
      this.#phase = "hook";
      const hook = cell.turn((server) => server.onStop?.(this.reason));
      if (hook === undefined) this.#phase = "rest";
      else void hook.then(() => this.#enterRest());
    }
    if (this.#phase === "rest" && cell.waits === 0) cell.finishStop(this.reason);
  }

  expire(): void {
    const { kind, id } = this.#cell;
    kind.host.cutOffs.note(id.key, this.reason, this.#limitMs);
    this.#cell.finishStop(this.reason);
  }

  /** The session has ended, in this way or another. */
  ended(): void {
    this.#cell.kind.host.deadlines.remove(this);
    turns.soon(() => this.#done.resolve());
  }

  #enterRest(): void {
    this.#phase = "rest";
    this.further();
  }
}
