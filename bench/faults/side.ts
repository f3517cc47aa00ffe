// One side of the comparison: a server that one fault after the other happens to.

import { LINGERING, measure, type Row } from "./measure.ts";
import { Others } from "./others.ts";
import { freePort, type Subject } from "./subject.ts";

/** A mesh replaces a worker with more kills by its watchdog in a minute, which is not what is measured. */
const KILLS_MAX = 8;
/** A kill that took less was the session's own doing. */
const WATCHDOG_MS = 100;

/** A server, started anew whenever the one before is not as it was any more. */
export class Side implements AsyncDisposable {
  readonly #budgetMs: number;
  readonly #start: (port: number) => Promise<Subject>;
  #subject: Subject | undefined;
  #others: Others | undefined;
  #kills = 0;
  #rows = 0;

  constructor(budgetMs: number, start: (port: number) => Promise<Subject>) {
    this.#budgetMs = budgetMs;
    this.#start = start;
  }

  /** @param kind of the session that goes wrong */
  async row(kind: string, fault: string): Promise<Row> {
    this.#subject ??= await this.#start(await freePort());
    this.#others ??= new Others(this.#subject.port, this.#budgetMs);
    const row = await measure(this.#subject, this.#others, {
      kind,
      name: `culprit${this.#rows++}`,
      fault,
    }).catch(async (error: unknown) => {
      await this[Symbol.asyncDispose]();
      throw error;
    });
    if (row.answer.endsWith("session_killed") && row.againMs > WATCHDOG_MS) this.#kills++;
    const lost = row.state + row.requests + row.sockets + row.timers + row.changed.length;
    if (lost > 0 || LINGERING.has(fault) || this.#kills >= KILLS_MAX) await this[Symbol.asyncDispose]();
    return row;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#others?.close();
    await this.#subject?.[Symbol.asyncDispose]();
    this.#others = this.#subject = undefined;
    this.#kills = 0;
  }
}
