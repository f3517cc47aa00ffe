// Passes the question of another node, whether this one has contact to the registry, on to the primary, who knows. A primary that does
// not answer in time has promised nothing that anybody relies on: the asker gets an error.

import { MeshError } from "#proto";
import type { FromWorker } from "../ipc.ts";

/** Longer than any asker waits. */
const ANSWER_MS = 1_000;

export class ContactQuestions {
  readonly #tell: (message: FromWorker) => void;
  readonly #open = new Map<number, (promised: boolean) => void>();
  #last = 0;

  constructor(tell: (message: FromWorker) => void) {
    this.#tell = tell;
  }

  /** Rejects with `timeout`. */
  ask(node: string, incarnation: string): Promise<boolean> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#open.delete(id);
        reject(new MeshError("timeout", "the primary of this node does not answer"));
      }, ANSWER_MS).unref();
      this.#open.set(id, (promised) => {
        clearTimeout(limit);
        resolve(promised);
      });
      this.#tell({ type: "contact", id, node, incarnation });
    });
  }

  answered(id: number, promised: boolean): void {
    this.#open.get(id)?.(promised);
    this.#open.delete(id);
  }
}
