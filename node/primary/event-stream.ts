// What the world hears of sessions that ended badly: one message each on NATS, to whoever listens at that moment. Nothing waits for it
// and nothing is kept; docs/registry.md has the form. Relies on workers to send no more than they should.

import type { NatsLink } from "#mesh";
import type { NodeConfig } from "../config.ts";
import type { FaultEvent } from "../ipc.ts";

export class EventStream {
  readonly #nats: Pick<NatsLink, "publish">;
  readonly #subject: string;
  readonly #node: string;
  /** Not told since the last one that was. */
  #dropped = 0;

  constructor(nats: Pick<NatsLink, "publish">, { mesh, node }: Pick<NodeConfig, "mesh" | "node">) {
    this.#nats = nats;
    this.#node = node;
    // A node id may hold dots, which would split the subject; the body has the id itself.
    this.#subject = `mesh.${mesh}.events.${node.replaceAll(".", "_")}`;
  }

  tell({ kind, dropped = 0, ...event }: FaultEvent): void {
    const missed = this.#dropped + dropped;
    const body = { node: this.#node, ...event, ...(missed === 0 ? {} : { dropped: missed }) };
    if (this.#nats.publish(`${this.#subject}.${kind}`, body)) this.#dropped = 0;
    else this.#dropped = missed + 1;
  }
}
