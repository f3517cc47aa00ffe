// The nodes that a launcher started: waits until all are ready, reports a death in one line, and leaves no process behind. The
// others go on when one dies; what the mesh makes of it is the mesh's business.

import type { NodeInfo } from "#node";
import { say } from "../terminal.ts";
import { exitText, startNodeProcess, type NodeOrder, type NodeProcess } from "./node-process.ts";

/** On SIGINT a node gives its sessions 2 s and its workers 1 s more; after that it is stuck. */
const STOP_MS = 4_000;
/** Workers notice the death of their primary at once. One that is stuck in a session's loop does not, and is killed. */
const ORPHAN_MS = 2_000;

export class Fleet {
  readonly #nodes: readonly NodeProcess[];
  /** Whose process group may still have members. A group is forgotten soon: later its number may be somebody else's. */
  readonly #groups: Set<NodeProcess>;
  readonly #allGone = Promise.withResolvers<void>();
  #alive: number;
  #stopping = false;

  constructor(orders: readonly NodeOrder[]) {
    this.#nodes = orders.map(startNodeProcess);
    this.#groups = new Set(this.#nodes);
    this.#alive = this.#nodes.length;
    for (const node of this.#nodes) void node.exited.then(() => this.#onExit(node));
  }

  /** In the order of their start. Rejects with the first error of a node that cannot start; the others run on until `stop`. */
  async ready(): Promise<NodeInfo[]> {
    const infos = await Promise.all(this.#nodes.map((node) => node.ready));
    for (const node of this.#nodes) {
      void node.exited.then((exit) => {
        if (!this.#stopping) say(`node ${node.id} died (${exitText(exit)}); ${leftText(this.#alive)}`);
      });
    }
    return infos;
  }

  /** Resolves when no node is left. */
  get allGone(): Promise<void> {
    return this.#allGone.promise;
  }

  /** Ends every node, those that are stuck by force: after a few seconds, or at once when `insisted` resolves. */
  async stop(insisted: Promise<void>): Promise<void> {
    this.#stopping = true;
    for (const node of this.#groups) node.signal("SIGINT");
    let timer: NodeJS.Timeout | undefined;
    const stuck = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_MS)));
    await Promise.race([this.#allGone.promise, stuck, insisted]);
    clearTimeout(timer);
    for (const node of this.#groups) node.killGroup();
    await this.#allGone.promise;
  }

  #onExit(node: NodeProcess): void {
    this.#alive -= 1;
    if (this.#alive === 0) this.#allGone.resolve();
    const kill = setTimeout(() => {
      node.killGroup();
      this.#groups.delete(node);
    }, ORPHAN_MS);
    // The launcher's own end kills what is left.
    kill.unref();
  }
}

function leftText(alive: number): string {
  if (alive === 0) return "no node is left";
  return alive === 1 ? "1 node goes on" : `${alive} nodes go on`;
}
