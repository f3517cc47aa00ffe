// Passes the questions of other nodes that concern this node, its contact to the registry above all, on to the primary, who knows. A
// primary that does not answer in time has promised nothing that anybody relies on: the asker gets an error.

import { MeshError } from "#proto";

/** No shorter than an asker waits, by default: half of `MESH_SUSPEND_MS`. */
const ANSWER_MS = 1_000;

export class PrimaryQuestions<Answer> {
  readonly #open = new Map<number, (answer: Answer) => void>();
  #last = 0;

  /** `send` passes the question on under this number. Rejects with `timeout`. */
  ask(send: (id: number) => void): Promise<Answer> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => {
        this.#open.delete(id);
        reject(new MeshError("timeout", "the primary of this node does not answer"));
      }, ANSWER_MS).unref();
      this.#open.set(id, (answer) => {
        clearTimeout(limit);
        resolve(answer);
      });
      send(id);
    });
  }

  answered(id: number, answer: Answer): void {
    this.#open.get(id)?.(answer);
    this.#open.delete(id);
  }
}
