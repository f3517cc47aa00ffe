// Who has fallen silent, and may be evicted, as one observer sees it: pure, told of leases, views and the fate of its own heartbeats.
//
// A node is evicted when its lease has not changed for `evictMs` of our own clock. The brakes: whenever our own contact with the
// registry was in doubt, every count starts anew, for then the silence may be ours; and when more than half of the view is
// silent, the registry is the likelier cause, so only silence beyond `outageCapMs` counts. Of those who see the silence, the first
// in rendezvous order acts at once and the others a little later, so one eviction costs one write, and still happens when the first is
// gone too.
//
// Two more things keep a node in the view. A promise to it, for as long as it runs: see outage.ts. And that it may be acting on the
// promises of others, because it has not heard of us and so did not ask us: then only silence beyond `outageCapMs` counts, unless
// nothing of it listens. Proof that its processes are gone overrides all brakes and promises.

import { hash, rendezvousFirst } from "#placement";
import type { View } from "#proto";

export interface LeaseTimings {
  readonly heartbeatMs: number;
  readonly suspendMs: number;
  readonly evictMs: number;
  readonly outageCapMs: number;
}

export interface LeaseSighting {
  readonly revision: number;
  /** Names the write; empty where there is no lease or none that can be read. A registry that went back gives revisions away again. */
  readonly opId: string;
  /** The incarnation that the lease says was evicted; undefined when it is live. */
  readonly evicted: string | undefined;
  /** Of the newest view that its writer had seen; 0 when the lease does not say. */
  readonly epoch: number;
}

/** What to do about one node: the mark at this revision of its lease (0: there is none) unless it is there, then the view. */
export interface DueEviction {
  readonly id: string;
  readonly incarnation: string;
  readonly revision: number;
  readonly marked: boolean;
  /** Not silent but proven gone: the proof has to hold for what is stored now. */
  readonly gone: boolean;
}

interface Observed {
  readonly incarnation: string;
  revision: number;
  opId: string;
  evicted: string | undefined;
  /** When we last saw a change, or began anew. */
  since: number;
  /** Added to the wait of those who are not first. */
  holdMs: number;
  askedAt: number;
  /** Views of this epoch and later hold both of us. */
  readonly sharedEpoch: number;
  /** It has seen such a view, so it does nothing that needs our promise without it. */
  knowsUs: boolean;
  promisedUntil: number;
  /** Its primary is, and so cannot evict anybody. */
  ended: boolean;
  goneSince: number | undefined;
  /** Nothing of it listened when we looked. */
  closed: boolean;
}

export class Silence {
  readonly #self: string;
  readonly #timings: LeaseTimings;
  readonly #random: () => number;
  readonly #observed = new Map<string, Observed>();
  #view: View | undefined;
  #lastContact = Number.NEGATIVE_INFINITY;
  #brakedSince: number | undefined;

  /** `random`: from 0 up to 1. */
  constructor(self: string, timings: LeaseTimings, random: () => number) {
    this.#self = self;
    this.#timings = timings;
    this.#random = random;
  }

  viewChanged(view: View, now: number): void {
    const wasHere = this.#view?.nodes.some((node) => node.id === this.#self) === true;
    this.#view = view;
    const ids = new Set<string>();
    for (const { id, incarnation } of view.nodes) {
      if (id === this.#self) continue;
      ids.add(id);
      const before = this.#observed.get(id);
      if (before?.incarnation === incarnation) continue;
      const { revision = 0, opId = "" } = before ?? {};
      this.#observed.set(id, {
        incarnation,
        revision,
        opId,
        evicted: before?.evicted,
        since: now,
        holdMs: this.#hold(),
        askedAt: Number.NEGATIVE_INFINITY,
        sharedEpoch: view.epoch,
        // Who joins after us joins a view that holds us.
        knowsUs: wasHere,
        promisedUntil: Number.NEGATIVE_INFINITY,
        ended: false,
        goneSince: undefined,
        closed: false,
      });
    }
    for (const id of this.#observed.keys()) if (!ids.has(id)) this.#observed.delete(id);
  }

  /** A lease as a watch showed it (which may repeat old ones) or as it was read. */
  seen(id: string, sighting: LeaseSighting, source: "watch" | "read", now: number): void {
    const observed = this.#observed.get(id);
    if (observed === undefined) return;
    if (sighting.revision === observed.revision && sighting.opId === observed.opId) return;
    if (source === "watch" && sighting.revision < observed.revision) return;
    observed.revision = sighting.revision;
    observed.opId = sighting.opId;
    observed.evicted = sighting.evicted;
    observed.since = now;
    observed.holdMs = this.#hold();
    observed.knowsUs ||= sighting.epoch >= observed.sharedEpoch;
    observed.closed = false;
  }

  /** We answer that we will not evict this life of the node for `evictMs`. False: it is not in our view, and gets no promise. */
  promise(id: string, incarnation: string, now: number): boolean {
    const observed = this.#observed.get(id);
    if (observed?.incarnation !== incarnation || observed.evicted === incarnation) return false;
    observed.promisedUntil = now + this.#timings.evictMs;
    return true;
  }

  /** The primary of this life of the node has ended. Its workers may go on. */
  ended(id: string, incarnation: string): void {
    const observed = this.#observed.get(id);
    if (observed?.incarnation === incarnation) observed.ended = true;
  }

  /** All processes of this life of the node are proven gone. */
  gone(id: string, incarnation: string, now: number): void {
    const observed = this.#observed.get(id);
    if (observed?.incarnation === incarnation) observed.goneSince ??= now;
  }

  /** The proof does not hold for what is stored. */
  notGone(id: string): void {
    const observed = this.#observed.get(id);
    if (observed !== undefined) observed.goneSince = undefined;
  }

  /** Nothing of a node that does not know us listens. */
  closed(id: string): void {
    const observed = this.#observed.get(id);
    if (observed !== undefined) observed.closed = true;
  }

  /** Lives of nodes that somebody has marked as evicted, by id: the view is to lose them all. */
  get marked(): Map<string, string> {
    const marked = new Map<string, string>();
    for (const [id, { evicted, incarnation }] of this.#observed)
      if (evicted === incarnation) marked.set(id, incarnation);
    return marked;
  }

  /** How many of the view are on their way out of it, most likely. */
  leaving(now: number): number {
    let leaving = 0;
    for (const { evicted, incarnation, ended, since } of this.#observed.values())
      if (evicted === incarnation || ended || now - since >= this.#timings.suspendMs) leaving++;
    return leaving;
  }

  /** Is it one of those who may act on promises that we know nothing of? */
  isStranger(id: string): boolean {
    return this.#observed.get(id)?.knowsUs === false;
  }

  /** One of our own heartbeats was acknowledged. */
  contact(now: number): void {
    if (now - this.#lastContact > this.#timings.suspendMs) this.restart(now);
    this.#lastContact = now;
  }

  /** Our contact was in doubt: a heartbeat without an answer, a reconnect, a gap in a watch. */
  restart(now: number): void {
    for (const observed of this.#observed.values()) observed.since = now;
  }

  /** Nodes whose leases should be read: a watch that has gone blind looks like silence. Each at most once a heartbeat. */
  suspects(now: number): string[] {
    const found: string[] = [];
    for (const [id, observed] of this.#observed) {
      if (observed.evicted !== undefined || now - observed.since < this.#timings.suspendMs) continue;
      if (now - observed.askedAt < this.#timings.heartbeatMs) continue;
      observed.askedAt = now;
      found.push(id);
    }
    return found;
  }

  due(now: number): DueEviction[] {
    const { suspendMs, heartbeatMs } = this.#timings;
    if (this.#view === undefined) return [];
    if (now - this.#lastContact > suspendMs) {
      // We have been suspended ourselves, or stopped: what we did not see in that time says nothing.
      this.restart(now);
      return [];
    }
    // Counted from the shorter limit: nodes that died together are all past it when the first of them is due.
    const unable = new Set<string>();
    for (const [id, { since }] of this.#observed) if (now - since >= suspendMs) unable.add(id);
    const brake = unable.size * 2 > this.#view.nodes.length;
    if (brake) this.#brakedSince ??= now;
    else {
      // Less is the time that a look takes: while watches are blind, all seem silent until they have been asked after.
      if (this.#brakedSince !== undefined && now - this.#brakedSince >= heartbeatMs) this.restart(now);
      this.#brakedSince = undefined;
    }

    for (const [id, { ended, goneSince }] of this.#observed) if (ended || goneSince !== undefined) unable.add(id);
    const due: DueEviction[] = [];
    const first = this.#firsts(unable);
    for (const [id, observed] of this.#observed) {
      const marked = observed.evicted === observed.incarnation;
      const neededMs = marked ? 0 : this.#waitMs(observed, brake);
      // Who is first weighs every node of the view: in a large mesh too dear to ask of those whom nobody would evict now.
      if (observed.goneSince === undefined && now - observed.since < neededMs) continue;
      const hold = first(id) ? 0 : observed.holdMs;
      const isGone = observed.goneSince !== undefined && now - observed.goneSince >= hold;
      if (!isGone && now - observed.since < neededMs + hold) continue;
      if (!isGone && !marked && now < observed.promisedUntil) continue;
      due.push({ id, incarnation: observed.incarnation, revision: observed.revision, marked, gone: isGone });
    }
    return due;
  }

  #waitMs(observed: Observed, brake: boolean): number {
    const { evictMs, outageCapMs } = this.#timings;
    return brake || (!observed.knowsUs && !observed.closed) ? outageCapMs + evictMs : evictMs;
  }

  /** Whether we are the first in rendezvous order to act on a node, of those who are able to. */
  #firsts(unable: ReadonlySet<string>): (id: string) => boolean {
    const { epoch = 0, nodes = [] } = this.#view ?? {};
    let able: string[] | undefined;
    let hashes: number[] | undefined;
    return (id) => {
      able ??= nodes.flatMap((node) => (unable.has(node.id) ? [] : [node.id]));
      hashes ??= able.map(hash);
      const key = `${id}@${epoch}`;
      const first = unable.has(id)
        ? rendezvousFirst(key, able, hashes)
        : rendezvousFirst(
            key,
            able.filter((other) => other !== id),
          );
      return first === this.#self;
    };
  }

  #hold(): number {
    return this.#timings.heartbeatMs * (1 + this.#random());
  }
}
