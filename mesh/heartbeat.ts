// Keeps the lease of this node on one of two ways, to the registry itself or by way of a peer: writes heartbeats, one at a time, and tells
// the lease what became of each. Goes on during outages and while suspended; ends when fenced or stopped. What the lease answers goes
// to its owner.

import { decodeLease, encodeLease, messageOf, type WorkerLoad } from "#proto";
import type { Clock } from "./clock.ts";
import type { KvEntry, KvWrite } from "./kv/port.ts";
import type { FoundLease, LeaseEffect, OwnLease, SeenView } from "./lease.ts";
import type { LogLine } from "./log.ts";
import type { RegistryKeys } from "./relay.ts";

export function leaseKey(nodeId: string): string {
  return `lease.${nodeId}`;
}

export interface HeartbeatOptions {
  readonly kv: RegistryKeys;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly lease: OwnLease;
  readonly key: string;
  readonly heartbeatMs: number;
  /** What the lease says of the newest view seen. */
  readonly seen: () => SeenView;
  readonly load: () => readonly WorkerLoad[];
  readonly onEffects: (effects: readonly LeaseEffect[]) => void;
  /** After each heartbeat: when it was sent, if the registry is known to have it. */
  readonly onOutcome: (acknowledgedSentAt: number | undefined) => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #cancel: (() => void) | undefined;
  #cancelSoon: (() => void) | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  #busy: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** Sends one every `heartbeatMs`, the first at once. */
  start(): void {
    this.#cancel = this.#options.clock.timer(this.#options.heartbeatMs, () => this.start());
    this.now();
  }

  /** One, or one more out of turn; right after the present one when that is still under way. */
  now(): void {
    if (this.#stopped) return;
    const { lease, clock, onEffects } = this.#options;
    onEffects(lease.tick(clock.now()));
    this.#again = true;
    this.#busy ??= this.#run();
  }

  /** One so long after the last one, unless the next is due by then anyway. */
  soon(ms: number): void {
    const { clock, heartbeatMs } = this.#options;
    if (this.#stopped || this.#cancelSoon !== undefined || ms >= heartbeatMs) return;
    this.#cancelSoon = clock.timer(Math.max(0, this.#sentAt + ms - clock.now()), () => {
      this.#cancelSoon = undefined;
      this.now();
    });
  }

  /** Resolves once no write is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancelSoon?.();
    await this.#busy;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      const sentAt = await this.#beat();
      if (this.#stopped) break;
      if (!this.#options.lease.fenced) this.#options.onOutcome(sentAt);
    }
    this.#busy = undefined;
  }

  async #beat(): Promise<number | undefined> {
    const { lease, clock, load, seen, kv, key, onEffects } = this.#options;
    // The second try is for a conflict that was only a lost answer, or a registry that lost the key.
    for (let tries = 0; tries < 2; tries++) {
      // A registry that went back gives its revisions away again: the one that we expect may be that of our eviction now.
      if (lease.suspended && !(await this.#look())) break;
      const sentAt = clock.now();
      this.#sentAt = sentAt;
      const next = lease.beat(sentAt, load(), seen());
      if (next === undefined) return undefined;
      const bytes = encodeLease(next.lease);
      const write: KvWrite = await (next.revision === 0 ? kv.create(key, bytes) : kv.update(key, bytes, next.revision));
      if (write.status === "written") {
        onEffects(lease.acknowledged(next.lease.beat, write.revision, clock.now()));
        return sentAt;
      }
      if (write.status === "unknown") break;
      // As good as no answer when it fails: the next heartbeat meets the same conflict and reads again.
      if (!(await this.#look())) break;
    }
    return undefined;
  }

  /** Tells the lease what its key holds. False: nobody knows. */
  async #look(): Promise<boolean> {
    const { lease, clock, kv, key, onEffects } = this.#options;
    let entry: KvEntry | undefined;
    try {
      entry = await kv.get(key);
    } catch {
      return false;
    }
    onEffects(lease.conflicted(this.#found(entry), clock.now()));
    return true;
  }

  #found(entry: KvEntry | undefined): FoundLease {
    if (entry === undefined) return undefined;
    try {
      return { revision: entry.revision, lease: decodeLease(entry.value) };
    } catch (error) {
      this.#options.log("error", "the registry holds an unreadable lease of this node", { error: messageOf(error) });
      // Overwritten like the lease of somebody who was evicted long ago.
      const lease = { state: "evicted", incarnation: "", by: "", opId: "" } as const;
      return { revision: entry.revision, lease };
    }
  }
}
