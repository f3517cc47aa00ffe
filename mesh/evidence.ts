// Proof that a node's processes are gone, so that nobody has to wait for its lease to run out. It begins with the FIN of its
// primary's lifeline: only the kernel that ran the process sends one. Then each worker of its record has to be gone too: its own lifeline
// has ended the same way, or its port refuses connections, twice with a pause between, for workers outlive their primary by a moment.
// And nothing of it may be open: who stands between us and a node and closes connections for it takes new ones as well. A time-out
// and no route, without a FIN, prove nothing. Relies on injected senses; evicts nobody itself.

import { isDeepStrictEqual } from "node:util";
import type { NodeRecord, View, WorkerRecord } from "#proto";
import type { Clock } from "./clock.ts";
import { pause } from "./pause.ts";
import type { ProbeResult, TcpAddress } from "./probe.ts";

/** Between two looks: a process that is ending closes its ports one after the other, and workers follow their primary. */
const LOOK_MS = 100;
/**
 * Looks in a row that must find nothing. Two even where every process has told its end: a worker that was forked and stood in no view yet
 * has no lifeline that we hold, and takes a moment to follow its primary.
 */
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

/** One process whose lifeline we hold. */
interface Lifeline {
  stop: () => void;
  ended: boolean;
}

interface Followed {
  node: NodeRecord;
  readonly primary: Lifeline;
  /** By incarnation: what a worker's former life told says nothing of the present one. */
  readonly workers: Map<string, Lifeline>;
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
        if (!changed) continue;
        this.#followWorkers(before);
        // What was proven says nothing about a worker that we had not heard of.
        if (before.proven !== undefined) void this.#prove(before);
        continue;
      }
      if (before !== undefined) this.#forget(node.id, before);
      this.#follow(node);
    }
  }

  /** The primary of this incarnation has ended: it evicts nobody any more, and renews nothing. */
  ended(id: string, incarnation: string): boolean {
    const followed = this.#followed.get(id);
    return followed?.primary.ended === true && followed.node.incarnation === incarnation;
  }

  /** Everything in this record, as it is stored now, is proven gone. */
  proves(node: NodeRecord): boolean {
    const proven = this.#followed.get(node.id)?.proven;
    return proven?.incarnation === node.incarnation && isDeepStrictEqual(proven.workers, node.workers);
  }

  /** Nothing of the node listens, as far as one look can tell: no proof, for a firewall may refuse in its name. */
  async isClosed(node: NodeRecord): Promise<boolean> {
    return (await this.#look(node)).every((result) => result === "refused");
  }

  stop(): void {
    this.#closing.abort();
    for (const [id, followed] of this.#followed) this.#forget(id, followed);
  }

  #follow(node: NodeRecord): void {
    const primary: Lifeline = { stop: () => {}, ended: false };
    const followed: Followed = { node, primary, workers: new Map(), proven: undefined };
    this.#followed.set(node.id, followed);
    primary.stop = this.#options.senses.follow(node.lifeline, () => {
      primary.ended = true;
      this.#options.onEnd(followed.node);
      void this.#prove(followed);
    });
    this.#followWorkers(followed);
  }

  #followWorkers(followed: Followed): void {
    const { node, workers } = followed;
    const present = new Set(node.workers.map((worker) => worker.incarnation));
    for (const [incarnation, { stop }] of workers) {
      if (present.has(incarnation)) continue;
      workers.delete(incarnation);
      stop();
    }
    for (const { incarnation, address } of node.workers) {
      if (workers.has(incarnation)) continue;
      const lifeline: Lifeline = { stop: () => {}, ended: false };
      workers.set(incarnation, lifeline);
      lifeline.stop = this.#options.senses.follow({ host: address.host, port: address.lifeline }, () => {
        lifeline.ended = true;
      });
    }
  }

  #forget(id: string, followed: Followed): void {
    this.#followed.delete(id);
    followed.primary.stop();
    for (const { stop } of followed.workers.values()) stop();
  }

  #hasEnded({ workers }: Followed, { incarnation }: WorkerRecord): boolean {
    return workers.get(incarnation)?.ended === true;
  }

  /** The primary's port first. */
  #look(node: NodeRecord): Promise<ProbeResult[]> {
    const addresses = [node.lifeline, ...node.workers.map((worker) => worker.address)];
    return Promise.all(addresses.map((address) => this.#options.senses.probe(address)));
  }

  /** Once its primary has ended, until it is proven, or the view has another life of the node or none. */
  async #prove(followed: Followed): Promise<void> {
    const { clock, onGone } = this.#options;
    followed.proven = undefined;
    let looks = 0;
    while (this.#followed.get(followed.node.id) === followed && followed.proven === undefined) {
      const { node } = followed;
      const results = await this.#look(node);
      if (this.#followed.get(node.id) !== followed) return;
      const ended = [true, ...node.workers.map((worker) => this.#hasEnded(followed, worker))];
      const isClosed = results.every((result, at) => isGone(result, ended[at] === true));
      looks = isClosed && followed.node === node ? looks + 1 : 0;
      if (looks >= LOOKS) {
        followed.proven = node;
        return onGone(node);
      }
      await pause(clock, LOOK_MS, this.#closing.signal);
    }
  }
}

/** What one look says of one process, whose kernel has told its end or has not. */
function isGone(result: ProbeResult, ended: boolean): boolean {
  return result === "refused" || (result === "unknown" && ended);
}
