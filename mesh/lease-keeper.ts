// All that a node does to keep its own lease, joined: heartbeats to the registry and, while it does not answer, by way of a peer; the
// promises of all others while nobody reaches it; and the way on which the registry can be reached at all now. What the lease says
// of it goes to its owner, who knows the view. Decides nothing that lease.ts, outage.ts and relay.ts do not say.

import type { NodeRecord, View, WorkerLoad } from "#proto";
import type { Clock } from "./clock.ts";
import { Heartbeat, leaseKey } from "./heartbeat.ts";
import type { Kv } from "./kv/port.ts";
import { OwnLease, type LeaseEffect } from "./lease.ts";
import type { LogLine } from "./log.ts";
import { Outage, type ContactAnswer } from "./outage.ts";
import { Relay, withRelay, type AskRelay, type RegistryKeys } from "./relay.ts";
import type { LeaseTimings } from "./silence.ts";

export interface LeaseKeeperOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly self: { readonly id: string; readonly incarnation: string };
  readonly timings: LeaseTimings;
  /** In the view. Before that nobody would promise or relay anything. */
  readonly isMember: () => boolean;
  readonly view: () => View;
  readonly load: () => readonly WorkerLoad[];
  /** See `LiveLease.view`. */
  readonly shown: () => string;
  /** See `OutageOptions`. */
  readonly hasEnded: (nodeId: string, incarnation: string) => boolean;
  readonly ask: (node: NodeRecord, timeoutMs: number) => Promise<ContactAnswer>;
  readonly relay: AskRelay;
  /** A peer has seen a newer view. */
  readonly onNewerView: () => void;
  readonly onEffects: (effects: readonly LeaseEffect[]) => void;
  /** After each heartbeat to the registry itself: was it acknowledged? */
  readonly onOutcome: (acknowledged: boolean) => void;
}

export class LeaseKeeper {
  /** The registry, on the way that leads there now. */
  readonly registry: RegistryKeys;
  readonly #options: LeaseKeeperOptions;
  readonly #relay: Relay;
  #lease: OwnLease | undefined;
  #heartbeat: Heartbeat | undefined;
  #relayedHeartbeat: Heartbeat | undefined;
  #outage: Outage | undefined;

  constructor(options: LeaseKeeperOptions) {
    const { kv, clock, log, self, view, relay, isMember, onNewerView } = options;
    this.#options = options;
    this.#relay = new Relay({
      self: self.id,
      clock,
      log,
      view,
      ask: relay,
      onEpoch: (epoch) => {
        if (epoch > view().epoch) onNewerView();
      },
    });
    this.registry = withRelay(kv, this.#relay, () => !isMember() || this.#outage?.inContact !== false);
  }

  /** There is a lease. */
  get begun(): boolean {
    return this.#lease !== undefined;
  }

  /** Of the last heartbeat that is known to be written. */
  get revision(): number {
    return this.#lease?.revision ?? 0;
  }

  get isLive(): boolean {
    return this.#lease?.isLive(this.#options.clock.now()) ?? false;
  }

  /** The registry itself, and no peer for us, acknowledges our heartbeats. */
  get inContact(): boolean {
    return this.#outage?.inContact === true;
  }

  /** Takes the key over at this revision, or creates it at 0, and renews it from now on. */
  begin(revision: number): void {
    const { kv, clock, log, self, timings, isMember, view, load, shown, onEffects, onOutcome } = this.#options;
    const lease = new OwnLease({ incarnation: self.incarnation, suspendMs: timings.suspendMs, revision });
    this.#lease = lease;
    const { hasEnded, ask } = this.#options;
    this.#outage = new Outage({
      self: self.id,
      clock,
      log,
      timings,
      lease,
      view,
      hasEnded,
      ask,
      relay: () => this.#relayedHeartbeat?.now(),
      onContactFound: (nodeId) => this.#relay.prefer(nodeId),
      onEffects,
    });
    const beating = {
      clock,
      log,
      lease,
      load,
      key: leaseKey(self.id),
      heartbeatMs: timings.heartbeatMs,
      seen: () => (isMember() ? { epoch: view().epoch, view: shown() } : { epoch: 0, view: "" }),
      onEffects,
    };
    // Whoever is helped like this judges nobody, so nobody hears of the outcome: it sees the leases of the others by chance.
    this.#relayedHeartbeat = new Heartbeat({ ...beating, kv: this.#relay, onOutcome: () => {} });
    this.#heartbeat = new Heartbeat({
      ...beating,
      kv,
      onOutcome: (sentAt) => {
        if (sentAt !== undefined) {
          this.#outage?.contact(sentAt);
          this.#relay.rest();
        }
        onOutcome(sentAt !== undefined);
      },
    });
    this.#heartbeat.start();
  }

  /** From now on the others are asked when the registry does not answer. */
  joined(): void {
    this.#outage?.start();
  }

  /** To be told of each view, before anything else is done with it. */
  viewChanged(view: View): void {
    this.#outage?.viewChanged(view);
  }

  /** One heartbeat out of turn. */
  beatNow(): void {
    this.#heartbeat?.now();
  }

  /** One so long after the last one, or in its turn. */
  beatSoon(ms: number): void {
    this.#heartbeat?.soon(ms);
  }

  /** The view, read after the `confirm` with this `until`, holds us. */
  confirmed(until: number): void {
    this.#options.onEffects(this.#lease?.confirmed(until, this.#options.clock.now()) ?? []);
  }

  /** We were evicted, as somebody else found out. */
  fence(reason: string): void {
    this.#options.onEffects(this.#lease?.fence(reason) ?? []);
  }

  /** Resolves once no write is under way. */
  async stop(): Promise<void> {
    this.#outage?.stop();
    this.#relay.stop();
    await this.#stopBeating();
  }

  /** Best effort: whoever finds a lease that nobody renews waits, and evicts its holder. */
  async drop(): Promise<void> {
    await this.#stopBeating();
    const revision = this.#lease?.revision ?? 0;
    if (revision === 0) return;
    const write = await this.registry.remove(leaseKey(this.#options.self.id), revision);
    if (write.status !== "written") this.#options.log("debug", "the lease was not removed", { status: write.status });
  }

  async #stopBeating(): Promise<void> {
    await Promise.all([this.#heartbeat?.stop(), this.#relayedHeartbeat?.stop()]);
  }
}
