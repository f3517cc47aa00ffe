// Proof that a node's processes are gone, so that nobody has to wait for its lease to run out. The first half is the FIN of its
// primary's lifeline: only the kernel that ran the process sends one. The second is that the primary's port and every worker's port of its
// record refuse connections, twice with a pause between, for workers outlive their primary by a moment. Anything else, a time-out, no
// route, one port that is open, proves nothing. Relies on injected senses; evicts nobody itself.

import { isDeepStrictEqual } from "node:util";
import type { NodeRecord, View } from "#proto";
import type { Clock } from "./clock.ts";
import { pause } from "./pause.ts";
import type { ProbeResult, TcpAddress } from "./probe.ts";

/** Between two looks: a process that is ending closes its ports one after the other, and workers follow their primary. */
const LOOK_MS = 100;
/** Looks in a row that must find nothing. */
const LOOKS = 2;

export interface PeerSenses {
  /** See `followLifeline`. */
  follow(address: TcpAddress, onEnd: () => void): () => void;
  probe(address: TcpAddress): Promise<ProbeResult>;
}

export interface EvidenceOptions {
  readonly self: string;
  readonly clock: Clock;
  readonly senses: PeerSenses;
  /** The primary has ended. */
  readonly onEnd: (node: NodeRecord) => void;
  /** All processes of this record are gone. May come again for a newer record. */
  readonly onGone: (node: NodeRecord) => void;
}

interface Followed {
  node: NodeRecord;
  stop: () => void;
  ended: boolean;
  proven: NodeRecord | undefined;
}

export class Evidence {
  readonly #options: EvidenceOptions;
  readonly #followed = new Map<string, Followed>();
  readonly #closing = new AbortController();

  constructor(options: EvidenceOptions) {
    this.#options = options;
  }

  viewChanged(view: View): void {
    if (this.#closing.signal.aborted) return;
    const ids = new Set(view.nodes.map((node) => node.id));
    for (const [id, followed] of this.#followed) if (!ids.has(id)) this.#forget(id, followed);
    for (const node of view.nodes) {
      if (node.id === this.#options.self) continue;
      const before = this.#followed.get(node.id);
      if (before?.node.incarnation === node.incarnation) {
        const changed = before.node !== node && !isDeepStrictEqual(before.node.workers, node.workers);
        before.node = node;
        // What was proven says nothing about a worker that we had not heard of.
        if (changed && before.proven !== undefined) void this.#prove(before);
        continue;
      }
      if (before !== undefined) this.#forget(node.id, before);
      this.#follow(node);
    }
  }

  /** The primary of this incarnation has ended: it evicts nobody any more, and renews nothing. */
  ended(id: string, incarnation: string): boolean {
    const followed = this.#followed.get(id);
    return followed?.ended === true && followed.node.incarnation === incarnation;
  }

  /** Everything in this record, as it is stored now, is proven gone. */
  proves(node: NodeRecord): boolean {
    const proven = this.#followed.get(node.id)?.proven;
    return proven?.incarnation === node.incarnation && isDeepStrictEqual(proven.workers, node.workers);
  }

  /** Nothing of the node listens, as far as one look can tell: no proof, for a firewall may refuse in its name. */
  async isClosed(node: NodeRecord): Promise<boolean> {
    const addresses = [node.lifeline, ...node.workers.map((worker) => worker.address)];
    const results = await Promise.all(addresses.map((address) => this.#options.senses.probe(address)));
    return results.every((result) => result === "refused");
  }

  stop(): void {
    this.#closing.abort();
    for (const [id, followed] of this.#followed) this.#forget(id, followed);
  }

  #follow(node: NodeRecord): void {
    const followed: Followed = { node, stop: () => {}, ended: false, proven: undefined };
    this.#followed.set(node.id, followed);
    followed.stop = this.#options.senses.follow(node.lifeline, () => {
      followed.ended = true;
      this.#options.onEnd(followed.node);
      void this.#prove(followed);
    });
  }

  #forget(id: string, followed: Followed): void {
    this.#followed.delete(id);
    followed.stop();
  }

  /** Until it is proven, or the view has another life of the node or none. */
  async #prove(followed: Followed): Promise<void> {
    const { clock, onGone } = this.#options;
    followed.proven = undefined;
    let looks = 0;
    while (this.#followed.get(followed.node.id) === followed && followed.proven === undefined) {
      const { node } = followed;
      const closed = await this.isClosed(node);
      if (this.#followed.get(node.id) !== followed) return;
      looks = closed && followed.node === node ? looks + 1 : 0;
      if (looks >= LOOKS) {
        followed.proven = node;
        return onGone(node);
      }
      await pause(clock, LOOK_MS, this.#closing.signal);
    }
  }
}
