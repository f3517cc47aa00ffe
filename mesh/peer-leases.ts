// The leases of the other nodes: keeps what they report of their load, asks after those that fell silent, and evicts those that the
// rules of silence.ts give up. An eviction is two writes: the mark in the lease at the revision last seen, where a heartbeat
// that races with it wins or loses, then the view. Whoever finds a mark without the view change makes it.

import {
  MeshError,
  decodeLease,
  encodeLease,
  messageOf,
  type Lease,
  type NodeRecord,
  type View,
  type WorkerLoad,
} from "#proto";
import type { Clock } from "./clock.ts";
import { Evidence, type PeerSenses } from "./evidence.ts";
import { leaseKey } from "./heartbeat.ts";
import type { Kv, KvEntry } from "./kv/port.ts";
import type { LogLine } from "./log.ts";
import { pause } from "./pause.ts";
import { Silence, type DueEviction, type LeaseTimings } from "./silence.ts";

const LEASE_PREFIX = leaseKey("");
/** Leases read at one tick because they seem silent: a mesh whose watch went blind must not flood the registry. */
const ASK_MAX = 16;
/** Looks for silence in one heartbeat interval. */
const TICKS_PER_HEARTBEAT = 4;
/**
 * Nodes that go together are to go in one change of the view, so who removes one waits for the marks of the others, so long for each
 * and at most. Too small: a change for each, and each of them costs everybody questions. Too large: their names come back later. The
 * silence of nodes that went together is noticed all through one heartbeat, their proven end at once.
 */
const SPREAD = { gone: { msPerNode: 1, msMax: 250 }, silent: { msPerNode: 10, msMax: 500 } };
/** Proofs wait so long for company: to look at all members for each of five hundred proofs would cost more than the evictions. */
const GONE_MS = 2;
/** A lease of no member that has not changed for so long belongs to nobody: a mark of an eviction, or of a join that failed. */
const ORPHAN_MS = 600_000;

export interface PeerLeasesOptions {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly self: string;
  /** This life of this node: its marks are named after it. */
  readonly incarnation: string;
  /** Numbers in [0, 1). */
  readonly draw: () => number;
  readonly timings: LeaseTimings;
  readonly senses: PeerSenses;
  /** The node as the registry has it now, read through the leader. */
  readonly stored: (nodeId: string) => Promise<NodeRecord | undefined>;
  /** Takes out of the view all whose leases are marked when it is about to be written: life by node id. */
  readonly evict: (marked: () => ReadonlyMap<string, string>) => Promise<unknown>;
}

/** What a live lease said last. */
interface SeenLease {
  readonly revision: number;
  readonly beat: number;
  readonly load: readonly WorkerLoad[];
}

interface BegunMark {
  readonly incarnation: string;
  /** The revision that the mark expects, and the heartbeat there: a registry that lost its data counts revisions anew, a node goes on counting. */
  readonly replaced: number;
  readonly beat: number;
}

export class PeerLeases {
  readonly #options: PeerLeasesOptions;
  readonly #silence: Silence;
  readonly #evidence: Evidence;
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #leases = new Map<string, SeenLease>();
  readonly #orphans = new Map<string, { readonly revision: number; readonly since: number }>();
  readonly #evicting = new Set<string>();
  /** The last mark that we have begun to write for each member, until a heartbeat of that life behind what it was to replace shows that it lives. */
  readonly #begun = new Map<string, BegunMark>();
  #removing: Promise<unknown> | undefined;
  #members = new Set<string>();
  #changed = false;
  #marks = 0;
  #cancel: (() => void) | undefined;
  #cancelGone: (() => void) | undefined;
  readonly #closing = new AbortController();
  #stopped = false;

  constructor(options: PeerLeasesOptions) {
    this.#options = options;
    this.#silence = new Silence(options.self, options.timings, options.draw);
    this.#evidence = new Evidence({
      self: options.self,
      clock: options.clock,
      senses: options.senses,
      onEnd: (node) => this.#silence.ended(node.id, node.incarnation),
      onGone: (node) => {
        this.#silence.gone(node.id, node.incarnation, options.clock.now());
        this.#cancelGone ??= options.clock.timer(GONE_MS, () => {
          this.#cancelGone = undefined;
          this.#evictDue();
        });
      },
    });
  }

  /** Begins to watch for silence. */
  start(): void {
    if (this.#stopped) return;
    const { clock, timings } = this.#options;
    this.#cancel = clock.timer(timings.heartbeatMs / TICKS_PER_HEARTBEAT, () => {
      this.#tick();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#closing.abort();
    this.#cancel?.();
    this.#cancelGone?.();
    this.#evidence.stop();
  }

  /**
   * The node asks us not to evict it for `evictMs`, because it finds no registry. False when we have evicted it, or may have: our view lacks
   * it, or a mark was begun and nobody has told us what became of it.
   */
  promise(id: string, incarnation: string): boolean {
    if (this.#evicting.has(id) || this.#begun.get(id)?.incarnation === incarnation) return false;
    return this.#silence.promise(id, incarnation, this.#options.clock.now());
  }

  /** Its primary is gone and evicts nobody any more. */
  hasEnded(id: string, incarnation: string): boolean {
    return this.#evidence.ended(id, incarnation);
  }

  /** We are about to take somebody out of the view, or may be. */
  get isEvicting(): boolean {
    return this.#evicting.size > 0 || this.#silence.marked.size > 0;
  }

  /** The other nodes of the view whose primaries may be running. */
  others(view: View): NodeRecord[] {
    const { self } = this.#options;
    return view.nodes.filter((node) => node.id !== self && !this.#evidence.ended(node.id, node.incarnation));
  }

  /** True: somebody is new in it. */
  viewChanged(view: View): boolean {
    const grown = view.nodes.some(
      ({ id, incarnation }) => id !== this.#options.self && this.#nodes.get(id)?.incarnation !== incarnation,
    );
    this.#members = new Set(view.nodes.map((node) => node.id));
    for (const id of this.#leases.keys()) if (!this.#members.has(id)) this.#changed = this.#leases.delete(id);
    for (const id of this.#begun.keys()) if (!this.#members.has(id)) this.#begun.delete(id);
    this.#nodes.clear();
    for (const node of view.nodes) this.#nodes.set(node.id, node);
    this.#silence.viewChanged(view, this.#options.clock.now());
    this.#evidence.viewChanged(view);
    return grown;
  }

  /** Our own heartbeat was acknowledged, or was not. */
  contact(acknowledged: boolean): void {
    const now = this.#options.clock.now();
    if (acknowledged) this.#silence.contact(now);
    else this.#silence.restart(now);
  }

  /** Writes may have been missed. */
  restart(): void {
    this.#silence.restart(this.#options.clock.now());
  }

  /** A write of any key of the registry, as a watch showed it or as it was read. Returns the epoch that its writer has seen, or 0. */
  sighted(entry: KvEntry, source: "watch" | "read"): number {
    if (!entry.key.startsWith(LEASE_PREFIX)) return 0;
    const id = entry.key.slice(LEASE_PREFIX.length);
    let lease: Lease | undefined;
    try {
      lease = decodeLease(entry.value);
    } catch (error) {
      // Not a sign of life that we understand, but one: nobody may be evicted for a lease that others cannot read.
      this.#options.log("error", "a lease is not readable", { lease: id, error: messageOf(error) });
    }
    const evicted = lease?.state === "evicted" ? lease.incarnation : undefined;
    const epoch = lease?.state === "live" ? lease.epoch : 0;
    this.#silence.seen(
      id,
      { revision: entry.revision, opId: lease?.opId ?? "", evicted, epoch },
      source,
      this.#options.clock.now(),
    );
    if (lease?.state !== "live") return epoch;
    // Not what was read before it: that answer may come after the mark's.
    const begun = this.#begun.get(id);
    if (begun?.incarnation === lease.incarnation && (entry.revision > begun.replaced || lease.beat > begun.beat))
      this.#begun.delete(id);
    if (source === "watch" && entry.revision <= (this.#leases.get(id)?.revision ?? 0)) return epoch;
    this.#leases.set(id, { revision: entry.revision, beat: lease.beat, load: lease.load });
    this.#changed = true;
    return epoch;
  }

  /** Reads all leases; never rejects. */
  async readAll(): Promise<void> {
    let entries: KvEntry[];
    try {
      entries = await this.#options.kv.list();
    } catch (error) {
      this.#options.log("debug", "the leases cannot be read", { error: messageOf(error) });
      return;
    }
    for (const entry of entries) this.sighted(entry, "read");
    const there = new Set(entries.map((entry) => entry.key));
    for (const id of this.#members) if (!there.has(leaseKey(id))) this.#missing(id);
    await this.#dropOrphans(entries);
  }

  /**
   * The members of a mesh that gave way to ours, whose view is `ours`: they end when they read the view. Their leases tell those whose
   * watches are blind, at their next heartbeat. Never rejects.
   */
  async dismiss(stranger: View, ours: View): Promise<void> {
    const { kv, log, self } = this.#options;
    for (const { id, incarnation } of stranger.nodes) {
      if (id === self || ours.nodes.some((node) => node.id === id && node.incarnation === incarnation)) continue;
      try {
        const entry = await kv.get(leaseKey(id));
        if (entry === undefined || decodeLease(entry.value).incarnation !== incarnation) continue;
        await kv.update(entry.key, encodeLease(this.#mark(incarnation)), entry.revision);
      } catch (error) {
        log("debug", "a lease of another mesh was not marked", { lease: id, error: messageOf(error) });
      }
    }
  }

  /** The load of each member, when it has changed since the last call. */
  freshLoads(): ReadonlyMap<string, readonly WorkerLoad[]> | undefined {
    if (!this.#changed) return undefined;
    this.#changed = false;
    return new Map([...this.#leases].flatMap(([id, { load }]) => (this.#members.has(id) ? [[id, load]] : [])));
  }

  #tick(): void {
    const now = this.#options.clock.now();
    for (const id of this.#silence.suspects(now).slice(0, ASK_MAX)) void this.#ask(id);
    this.#evictDue();
  }

  #evictDue(): void {
    if (this.#stopped) return;
    for (const due of this.#silence.due(this.#options.clock.now())) {
      if (this.#evicting.has(due.id)) continue;
      this.#evicting.add(due.id);
      void this.#evict(due).finally(() => this.#evicting.delete(due.id));
    }
  }

  async #ask(id: string): Promise<void> {
    try {
      const entry = await this.#options.kv.get(leaseKey(id));
      if (entry === undefined) this.#missing(id);
      else this.sighted(entry, "read");
      const node = this.#nodes.get(id);
      if (node !== undefined && this.#silence.isStranger(id) && (await this.#evidence.isClosed(node)))
        this.#silence.closed(id);
    } catch (error) {
      // We could not see it, which is not its silence.
      this.restart();
      this.#options.log("debug", "a lease cannot be read", { lease: id, error: messageOf(error) });
    }
  }

  #missing(id: string): void {
    this.#silence.seen(id, { revision: 0, opId: "", evicted: undefined, epoch: 0 }, "read", this.#options.clock.now());
  }

  async #evict({ id, incarnation, revision, marked, gone }: DueEviction): Promise<void> {
    const { kv, log } = this.#options;
    try {
      if (!marked) {
        if (gone && !(await this.#provenNow(id, incarnation))) return this.#silence.notGone(id);
        const entry = { key: leaseKey(id), value: encodeLease(this.#mark(incarnation)) };
        const known = this.#leases.get(id);
        const beat = known?.revision === revision ? known.beat : Number.POSITIVE_INFINITY;
        this.#begun.set(id, { incarnation, replaced: revision, beat });
        const write = await (revision === 0
          ? kv.create(entry.key, entry.value)
          : kv.update(entry.key, entry.value, revision));
        // It lives after all, somebody else was faster, or we do not know: the lease as it stands tells.
        if (write.status !== "written") return await this.#ask(id);
        this.sighted({ ...entry, revision: write.revision }, "read");
        log("warn", `evicted a node: ${gone ? "its processes are gone" : "its lease was silent for too long"}`, {
          evicted: id,
          incarnation,
        });
      }
      await this.#remove(id, incarnation, gone ? SPREAD.gone : SPREAD.silent);
    } catch (error) {
      // The mark stands; the next tick, or another node, takes it from there.
      log("warn", "an eviction is not complete", { evicted: id, error: MeshError.from(error).message });
    }
  }

  /**
   * One change of the view takes out whoever is marked by then, whoever marked it. When many nodes are gone at once, as many others
   * mark one each and all want the view: so they begin at different moments, and most find the work done by then.
   */
  async #remove(id: string, incarnation: string, spread: { msPerNode: number; msMax: number }): Promise<void> {
    const { clock, draw, evict } = this.#options;
    const spreadMs = Math.min((this.#silence.leaving(clock.now()) - 1) * spread.msPerNode, spread.msMax);
    if (spreadMs > 0) await pause(clock, spreadMs * (0.5 + draw() / 2), this.#closing.signal);
    // The second: a removal that was under way may have been written before the mark was.
    for (let tries = 0; tries < 2; tries++) {
      if (this.#stopped || this.#nodes.get(id)?.incarnation !== incarnation) return;
      this.#removing ??= evict(() => this.#silence.marked).finally(() => (this.#removing = undefined));
      await this.#removing;
    }
  }

  #mark(incarnation: string): Lease {
    const { self, incarnation: writer } = this.#options;
    return { state: "evicted", incarnation, by: self, opId: `${writer}.e${++this.#marks}` };
  }

  /** Its primary is gone, so the record that is stored now is its last. A worker in it that we had not heard of may live. */
  async #provenNow(id: string, incarnation: string): Promise<boolean> {
    const node = await this.#options.stored(id);
    return node?.incarnation === incarnation && this.#evidence.proves(node);
  }

  async #dropOrphans(entries: readonly KvEntry[]): Promise<void> {
    const { kv, clock, self } = this.#options;
    const now = clock.now();
    const present = new Set<string>();
    for (const { key, revision } of entries) {
      const id = key.slice(LEASE_PREFIX.length);
      if (!key.startsWith(LEASE_PREFIX) || this.#members.has(id) || id === self) continue;
      present.add(key);
      const before = this.#orphans.get(key);
      if (before?.revision !== revision) this.#orphans.set(key, { revision, since: now });
      else if (now - before.since >= ORPHAN_MS) await kv.remove(key, revision);
    }
    for (const key of this.#orphans.keys()) if (!present.has(key)) this.#orphans.delete(key);
  }
}
