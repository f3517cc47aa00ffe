// Asks this node's workers the registry's questions over IPC, each with a time limit: a worker that dies or hangs leaves its answer
// out, it does not hold up the others.

import type { WorkerAnswer, WorkerQuery } from "../ipc.ts";
import type { WorkerPool } from "./worker-pool.ts";

/** A healthy worker answers in milliseconds; one in a long turn is left out after this. */
const ANSWER_MS = 1_000;

export class WorkerQuestions {
  readonly #pool: WorkerPool;
  readonly #open = new Map<number, (answer: WorkerAnswer | undefined) => void>();
  #last = 0;

  constructor(pool: WorkerPool) {
    this.#pool = pool;
  }

  /** Undefined when the worker does not answer in time. */
  ask(index: number, query: WorkerQuery): Promise<WorkerAnswer | undefined> {
    const id = ++this.#last;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answered(id, undefined), ANSWER_MS);
      this.#open.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      if (!this.#pool.send(index, { type: "query", id, query })) this.answered(id, undefined);
    });
  }

  async askAll(query: WorkerQuery): Promise<WorkerAnswer[]> {
    const answers = await Promise.all(this.#pool.processes.map((worker) => this.ask(worker.index, query)));
    return answers.filter((answer) => answer !== undefined);
  }

  answered(id: number, answer: WorkerAnswer | undefined): void {
    const settle = this.#open.get(id);
    this.#open.delete(id);
    settle?.(answer);
  }
}
