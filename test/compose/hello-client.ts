// Reads the answers of examples/hello, the application of the image, as those of the test application are read, so that the same judges
// serve for both. Its answers name no process, so node and worker stand for one, and no instance, so the fence does, which is its own.

import { integer, record, text } from "#proto";
import { CounterClient, type Count } from "../cluster/counter-client.ts";

export class HelloClient {
  readonly client = new CounterClient({ keepAlive: false, read: (answer) => this.#read(answer) });
  readonly #processes = new Map<string, number>();

  /** Numbers for the workers of a node that have answered. */
  processesOf(node: string): number[] {
    return [...this.#processes].flatMap(([key, pid]) => (key.startsWith(`${node}/`) ? [pid] : []));
  }

  /** The number for one worker. */
  process(node: string, worker: number): number {
    const key = `${node}/${worker}`;
    const pid = this.#processes.get(key) ?? this.#processes.size + 1;
    this.#processes.set(key, pid);
    return pid;
  }

  #read(answer: Record<string, unknown>): Count {
    const node = text(answer["node"], "node");
    const worker = integer(answer["worker"], "worker");
    const fence = record(answer["fence"], "fence");
    const [epoch, claim] = [integer(fence["epoch"], "fence.epoch"), integer(fence["claim"], "fence.claim")];
    return {
      count: integer(answer["count"], "count"),
      name: text(answer["session"], "session"),
      node,
      worker,
      pid: this.process(node, worker),
      fence: { epoch, claim },
      instance: `${node}/${worker} ${epoch}.${claim}`,
    };
  }
}
