// A node's membership, in its primary: puts the node into the view and keeps it there, renews its lease, evicts nodes that fell silent,
// and tells the node each new view, its deadline, and its end. Relies on the key-value port alone, or on a peer's where its own does not
// answer. The rules are in view-change.ts, lease.ts, silence.ts, evidence.ts, outage.ts and relay.ts; here they meet the registry. Never
// ends a session itself.
//
// What the node wants the view to say about it is one record. Every change of the view, for whatever reason, is built on a view
// that says so: a change of ours that was lost, or a registry that went back, is put right by the next write.

import {
  MeshError,
  decodeLease,
  decodeView,
  messageOf,
  type Lease,
  type NodeRecord,
  type RelayedFrame,
  type RelayFrame,
  type View,
  type WorkerLoad,
  type WorkerRecord,
} from "#proto";
import type { Clock } from "./clock.ts";
import type { PeerSenses } from "./evidence.ts";
import { leaseKey } from "./heartbeat.ts";
import type { Kv } from "./kv/port.ts";
import { claimLease } from "./lease-claim.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { LeaseEffect } from "./lease.ts";
import type { LogLine } from "./log.ts";
import type { ContactAnswer } from "./outage.ts";
import { pause } from "./pause.ts";
import { PeerLeases } from "./peer-leases.ts";
import { away, relayed, type AskRelay } from "./relay.ts";
import { allShow } from "./shown-view.ts";
import type { LeaseTimings } from "./silence.ts";
import { allEvicted, evicted, holds, joined, left, prevails } from "./view-change.ts";
import { VIEW_KEY, ViewRegister } from "./view-register.ts";

/** A mesh of a hundred nodes that starts at once settles in seconds; a join that takes longer has no registry. */
const JOIN_MS = 30_000;
/** For a drain, an eviction or a leave: their callers go on without the registry. */
const CHANGE_MS = 5_000;
/** For reading again what a peer says is newer. */
const REFRESH_MS = 3_000;
/** Reads that may show less than a peer has seen: a deposed leader of the registry can answer for a moment. */
const REFRESH_TRIES = 3;
/** Watches can be blind for a minute without an error; this bounds how old a view may be. */
const REREAD_MS = 10_000;
const LEASES_EVERY_REREADS = 6;
/** All members together send at most a hundred heartbeats a second more while nodes join. Fifty and more send none. */
const SHOW_MS_A_NODE = 10;
/** Heartbeats that a node which was cut off leaves to others to repair a registry that lost the view. */
const REPAIR_HOLD_HEARTBEATS = 2;

export interface MembershipEvents {
  /** Every new view from the join on; each holds this node. */
  onView(view: View): void;
  /** Until when this node may act, in milliseconds of `systemClock`, which every process of this machine shares. Only rises. */
  onDeadline(deadline: number): void;
  /** Once, and nothing after it: this incarnation has been evicted, its sessions may live elsewhere. */
  onFenced(reason: string): void;
  /** The load of every node, by id, as the leases report it. */
  onLoads(loads: ReadonlyMap<string, readonly WorkerLoad[]>): void;
}

/** How the primaries of other nodes are felt and spoken to. */
export interface PeerPort extends PeerSenses {
  /** Asks the node's `answerContact`, through any worker of it. MUST NOT reject. */
  ask(node: NodeRecord, timeoutMs: number): Promise<ContactAnswer>;
  /** Asks the node's `answerRelay`, likewise. Without it a node that alone loses the registry is suspended. */
  readonly relay?: AskRelay;
}

export interface MembershipOptions {
  /** Stays the caller's: it is not closed here. */
  readonly kv: Kv;
  readonly self: Omit<NodeRecord, "workers" | "state">;
  readonly timings: LeaseTimings;
  /** How long a registry must be seen empty before this node founds a mesh in it; 0, the default, for a registry that is known to be new. */
  readonly foundHoldMs?: number;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly peers: PeerPort;
  /** Numbers in [0, 1), for pauses that differ from node to node. Default: `Math.random`. */
  readonly draw?: () => number;
  /** Milliseconds since 1970: of two meshes that meet in one registry the one that was founded first goes on. Default: `Date.now`. */
  readonly date?: () => number;
  load(): readonly WorkerLoad[];
  readonly events: MembershipEvents;
}

/** After the end (fenced, left or closed) every method that changes something throws `suspended`. */
export interface Membership {
  /** Once. The view that holds the node. Throws `bad_config` when a running node has this id, `registry_unavailable` after 30 s. */
  join(workers: readonly WorkerRecord[]): Promise<View>;
  /** Goes on for as long as the registry is away. Of several calls the last list counts; each resolves with a view that holds it. */
  setWorkers(workers: readonly WorkerRecord[]): Promise<View>;
  /** Throws `registry_unavailable` after 5 s; the view will say it as soon as it says anything new. */
  drain(): Promise<View>;
  /** Takes the node out of the view and removes its lease. Throws `registry_unavailable` after 5 s: the others will evict it. */
  leave(): Promise<void>;
  /** Reads the view again; used when a peer shows a higher epoch. Throws `registry_unavailable` after 3 s. */
  refresh(epochAtLeast?: number): Promise<View>;
  /**
   * A peer without contact to the registry asks. True: we have none either, and do not evict this life of it for `evictMs` from now.
   */
  answerContact(nodeId: string, incarnation: string): boolean;
  /** A peer without contact asks us to do this in the registry for it. Only for the view and for its own lease. Never rejects. */
  answerRelay(nodeId: string, ask: RelayFrame): Promise<RelayedFrame>;
  /** The newest view seen. */
  readonly view: View;
  /** The node may not act now: past its deadline, fenced, or not joined yet. */
  readonly suspended: boolean;
  /** Stops everything at once and leaves the node in the view. */
  close(): Promise<void>;
}

export function startMembership(options: MembershipOptions): Membership {
  return new NodeMembership(options);
}

class NodeMembership implements Membership {
  readonly #options: MembershipOptions;
  readonly #closing = new AbortController();
  readonly #register: ViewRegister;
  readonly #peers: PeerLeases;
  #wanted: NodeRecord;
  readonly #lease: LeaseKeeper;
  /** What the join waits for. */
  #firstBeat: { readonly acknowledged: () => void; readonly failed: (error: MeshError) => void } | undefined;
  #stopWatch: (() => void) | undefined;
  #cancelReread: (() => void) | undefined;
  #joining: Promise<View> | undefined;
  #refreshing: Promise<View> | undefined;
  #refreshAgain = false;
  /** Something was shown before the answer to our joining was here: perhaps a later view than the one that we joined. */
  #sightedEarly = false;
  #confirming = false;
  /** When a lease has last shown a view that we had not seen. */
  #behindAt = Number.NEGATIVE_INFINITY;
  /**
   * The first heartbeat that was acknowledged since this node lost contact: its revision, or less when the registry went back meanwhile; and the
   * newest one's deadline.
   */
  #back: { revision: number; until: number } | undefined;
  #leaving = false;
  #ended: Promise<void> | undefined;

  constructor(options: MembershipOptions) {
    const { kv, clock, log, timings, self, draw = Math.random, date = Date.now } = options;
    this.#options = options;
    this.#wanted = { ...self, state: "up", workers: [] };
    this.#lease = new LeaseKeeper({
      kv,
      clock,
      log,
      self,
      timings,
      isMember: () => this.#register.member,
      view: () => this.view,
      load: () => options.load(),
      shown: () => (this.#peers.isEvicting ? "" : this.view.opId),
      hasEnded: (id, incarnation) => this.#peers.hasEnded(id, incarnation),
      ask: (node, timeoutMs) => options.peers.ask(node, timeoutMs),
      relay: options.peers.relay ?? (async () => undefined),
      onNewerView: () => this.#refreshSoon(),
      onEffects: (effects) => {
        for (const effect of effects) {
          if (this.#register.member) this.#apply(effect);
          else this.#applyBeforeJoin(effect);
        }
      },
      onOutcome: (acknowledged) => this.#onOutcome(acknowledged),
    });
    this.#register = new ViewRegister({
      kv: this.#lease.registry,
      writer: self.incarnation,
      draw,
      clock,
      log,
      closing: this.#closing.signal,
      mayRepair: () => this.#lease.isLive,
      repairHoldMs: timings.heartbeatMs * REPAIR_HOLD_HEARTBEATS,
      foundHoldMs: options.foundHoldMs ?? 0,
      founding: () => `${new Date(date()).toISOString()}/${self.incarnation}`,
      overrules: (stranger) => this.#overrules(stranger),
      onOverruled: (stranger) => void this.#peers.dismiss(stranger, this.view),
      onView: (view) => this.#onView(view),
    });
    this.#peers = new PeerLeases({
      kv,
      clock,
      log,
      self: self.id,
      incarnation: self.incarnation,
      draw,
      timings,
      senses: options.peers,
      // A read of its own: one that is under way may have begun before what has to be in it.
      stored: async (id) => (await this.#reread()).nodes.find((node) => node.id === id),
      evict: (marked) => this.#register.change((base) => allEvicted(this.#placed(base), marked()), CHANGE_MS),
    });
  }

  get view(): View {
    return this.#register.known;
  }

  get suspended(): boolean {
    return !this.#register.member || !this.#lease.isLive;
  }

  join(workers: readonly WorkerRecord[]): Promise<View> {
    this.#wanted = { ...this.#wanted, workers };
    this.#joining ??= this.#join();
    return this.#joining;
  }

  async setWorkers(workers: readonly WorkerRecord[]): Promise<View> {
    this.#wanted = { ...this.#wanted, workers };
    await this.#joining;
    return this.#register.change((base) => this.#placed(base), Number.POSITIVE_INFINITY);
  }

  async drain(): Promise<View> {
    this.#wanted = { ...this.#wanted, state: "draining" };
    await this.#joining;
    return this.#register.change((base) => this.#placed(base), CHANGE_MS);
  }

  async leave(): Promise<void> {
    const { id, incarnation } = this.#wanted;
    if (this.#register.member && !this.#leaving && this.#ended === undefined) {
      this.#leaving = true;
      // Nobody asks one that has left whether it evicted somebody: it must not do that on its way out.
      this.#peers.stop();
      try {
        await this.#register.change((base) => left(base, id, incarnation), CHANGE_MS);
        await this.#lease.drop();
      } finally {
        await this.close();
      }
    }
    await this.close();
  }

  async refresh(epochAtLeast = 0): Promise<View> {
    if (epochAtLeast > 0 && this.view.epoch >= epochAtLeast) return this.view;
    for (let tries = 1; ; tries++) {
      this.#refreshing ??= this.#reread().finally(() => {
        this.#refreshing = undefined;
        if (this.#refreshAgain) this.#refreshSoon();
      });
      const view = await this.#refreshing;
      if (view.epoch >= epochAtLeast || tries >= REFRESH_TRIES) return view;
      await pause(this.#options.clock, this.#options.timings.heartbeatMs, this.#closing.signal);
    }
  }

  answerContact(nodeId: string, incarnation: string): boolean {
    if (!this.#register.member || (!this.#over && this.#lease.inContact)) return false;
    return this.#peers.promise(nodeId, incarnation);
  }

  async answerRelay(nodeId: string, ask: RelayFrame): Promise<RelayedFrame> {
    const { kv, log } = this.#options;
    const reads = ask.operation === "get" && ask.key.startsWith(leaseKey(""));
    const its = ask.key === VIEW_KEY || ask.key === leaseKey(nodeId) || reads;
    // Only our own contact counts: what a peer does for us we cannot do for others.
    const able = this.#register.member && !this.#over && this.#lease.inContact;
    return its && able ? relayed(kv, ask, this.view.epoch, log) : away(this.view.epoch);
  }

  close(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #join(): Promise<View> {
    const { kv, clock, log, self, timings } = this.#options;
    const revision = await claimLease({
      kv,
      clock,
      log,
      senses: this.#options.peers,
      closing: this.#closing.signal,
      nodeId: self.id,
      incarnation: self.incarnation,
      timings,
      limitMs: JOIN_MS,
    });
    const began = clock.now();
    const left = (): number => Math.max(0, JOIN_MS - (clock.now() - began));
    await this.#renewLease(revision, left());
    await this.#startWatch();
    const view = await this.#register.change((base) => this.#placed(base), left());
    this.#register.member = true;
    // Not `view`: a watch may have shown a newer one, which nobody was told of while we had not joined.
    this.#onView(this.view);
    if (this.#sightedEarly) this.#refreshSoon();
    this.#peers.start();
    this.#lease.joined();
    this.#rereadLater(1);
    void this.#peers.readAll();
    return view;
  }

  /** Resolves with the first acknowledgement. */
  async #renewLease(revision: number, limitMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.timer(limitMs, () =>
      reject(new MeshError("registry_unavailable", "the registry did not take the lease of this node in time")),
    );
    this.#firstBeat = { acknowledged: resolve, failed: reject };
    this.#lease.begin(revision);
    this.#closing.signal.addEventListener("abort", () => reject(ended()), { once: true });
    try {
      await promise;
    } finally {
      cancel();
    }
  }

  #onOutcome(acknowledged: boolean): void {
    if (acknowledged) this.#firstBeat?.acknowledged();
    this.#peers.contact(acknowledged);
    const loads = this.#peers.freshLoads();
    if (loads !== undefined && this.#register.member && !this.#over) this.#options.events.onLoads(loads);
  }

  #applyBeforeJoin(effect: LeaseEffect): void {
    // Nothing runs here yet, so a lease that lapsed while the registry was slow needs no look at the view.
    if (effect.type === "confirm") {
      this.#lease.confirmed(effect.until);
    } else if (effect.type === "fenced") {
      const { id } = this.#options.self;
      this.#firstBeat?.failed(
        new MeshError("bad_config", `another process took the node id "${id}" while this one joined`, { node: id }),
      );
      void this.close();
    } else if (effect.type === "deadline") {
      this.#apply(effect);
    }
  }

  #apply(effect: LeaseEffect): void {
    const { log, events } = this.#options;
    if (this.#over) return;
    switch (effect.type) {
      case "deadline":
        events.onDeadline(effect.deadline);
        break;
      case "suspended":
        this.#back = undefined;
        log("warn", "suspended: the registry has not acknowledged this node's lease; sessions are held");
        break;
      case "confirm":
        void this.#confirm(effect.until);
        break;
      case "resumed":
        log("info", "resumed: the lease holds again");
        break;
      case "fenced":
        this.#fenced(effect.reason);
        break;
    }
  }

  /**
   * After a suspension: the view has to hold us still, read after the acknowledgement. The registry may have gone back to before our
   * eviction; so all others have to have shown this very view in a heartbeat since. One who knows better shows another, and puts it right; one who
   * does not beat may know better too, and is waited for until it does, or is evicted. One look at a time; the next heartbeat asks again.
   */
  async #confirm(until: number): Promise<void> {
    const { revision } = this.#lease;
    // After another gap between two heartbeats in which we may have been evicted, what the others showed before it says nothing.
    const isOn = this.#back !== undefined && until - this.#back.until < this.#options.timings.suspendMs;
    const back = isOn ? Math.min(this.#back?.revision ?? revision, revision) : revision;
    this.#back = { revision: back, until };
    if (this.#confirming) return;
    this.#confirming = true;
    try {
      const view = await this.#reread();
      const others = this.#peers.others(view);
      if (!(await allShow(this.#lease.registry, others, view.opId, back))) return;
      this.#lease.confirmed(until);
    } catch (error) {
      this.#options.log("debug", "the view cannot be read to resume", { error: messageOf(error) });
    } finally {
      this.#confirming = false;
    }
  }

  /**
   * The view with our record as we want it. Nothing to add before we join or while we leave. When a view lacks us although our lease
   * never lapsed, nobody can have evicted us: the registry went back. We put ourselves back. When it lapsed, or the view tells of our
   * end, we take its word, and this is the end.
   */
  #placed(base: View): View {
    if (this.#leaving || !this.#lease.begun) return base;
    const { id, incarnation } = this.#wanted;
    const told = base.departed?.includes(incarnation) === true;
    if (this.#register.member && !holds(base, id, incarnation) && (told || !this.#lease.isLive)) {
      this.#lease.fence("the view does not hold this node any more: others evicted it");
      throw ended();
    }
    const outcome = joined(base, this.#wanted);
    if (outcome.status === "joined") return outcome.view;
    // We hold the lease of the id, so the other life of this node is over.
    const cleared = joined(evicted(base, id, outcome.holder.incarnation), this.#wanted);
    return cleared.status === "joined" ? cleared.view : base;
  }

  /**
   * Somebody founded a mesh in the registry while it had forgotten ours. Both may serve the same names, so one of them has to end, and at
   * once. We go on only when our lease never lapsed: else whatever of us was left may have been given up for good reason.
   */
  #overrules(stranger: View): boolean {
    if (this.#lease.isLive && prevails(this.view, stranger)) {
      this.#options.log("warn", "another mesh was founded in this registry; it gives way to ours, which is older", {
        theirs: stranger.founding,
        ours: this.view.founding,
      });
      return true;
    }
    const { founding } = this.view;
    this.#lease.fence(
      `the registry holds the mesh that was founded at ${stranger.founding}; ours (${founding}) gives way to it`,
    );
    return false;
  }

  #onView(view: View): void {
    if (!this.#register.member || this.#over) return;
    this.#lease.viewChanged(view);
    // A newcomer waits for long with us, should we fall silent, until our lease shows that we know of it: see silence.ts.
    if (this.#peers.viewChanged(view)) this.#lease.beatSoon(view.nodes.length * SHOW_MS_A_NODE);
    const { id, incarnation } = this.#wanted;
    if (holds(view, id, incarnation)) this.#options.events.onView(view);
    else if (!this.#leaving) this.#refreshSoon();
  }

  async #startWatch(): Promise<void> {
    try {
      this.#stopWatch = await this.#options.kv.watch(
        (entry) => {
          if (this.#over) return;
          if (entry.key === VIEW_KEY) this.#viewSighted(entry.value);
          if (entry.key === VIEW_KEY || entry.value === undefined) return;
          const epoch = this.#peers.sighted({ ...entry, value: entry.value }, "watch");
          if (epoch > this.view.epoch) this.#newerViewSighted();
          if (entry.key === leaseKey(this.#wanted.id)) this.#ownLeaseSighted(entry.value);
        },
        () => {
          if (this.#over) return;
          this.#peers.restart();
          this.#refreshSoon();
          void this.#peers.readAll();
        },
      );
      if (this.#over) this.#stopWatch();
    } catch (error) {
      // Views come late without it, by the regular reading, and no later than that.
      this.#options.log("warn", "the registry cannot be watched", { error: messageOf(error) });
    }
  }

  /** Somebody else wrote our lease: the next heartbeat will find out who and why, and need not wait for its turn. */
  #ownLeaseSighted(value: Uint8Array): void {
    let lease: Lease;
    try {
      lease = decodeLease(value);
    } catch {
      // The next heartbeat writes over it. Out of turn, a lease of ours that cannot be read would call for itself without end.
      return;
    }
    if (lease.state !== "live" || lease.incarnation !== this.#wanted.incarnation) this.#lease.beatNow();
  }

  #viewSighted(value: Uint8Array | undefined): void {
    // Nobody removes the view: an operator did, or the registry lost it.
    if (value === undefined) return this.#refreshSoon();
    try {
      const view = decodeView(value);
      if (this.#register.follows(view) && holds(view, this.#wanted.id, this.#wanted.incarnation)) {
        this.#register.adopt(view);
      } else if (view.epoch !== this.view.epoch || view.opId !== this.view.opId) {
        // Perhaps an old one, one without us, a stranger's or a registry that went back: only a read may say so.
        this.#refreshSoon();
      }
    } catch {
      this.#refreshSoon();
    }
  }

  /** A watch shows the view before any lease of somebody who has seen it, unless it lost it. */
  #newerViewSighted(): void {
    const { clock, timings } = this.#options;
    // A registry that went back has such leases for a while, and many.
    if (clock.now() - this.#behindAt < timings.heartbeatMs) return;
    this.#behindAt = clock.now();
    this.#refreshSoon();
  }

  #refreshSoon(): void {
    if (this.#over) return;
    if (!this.#register.member) {
      this.#sightedEarly = true;
      return;
    }
    // One that is under way may have looked already, or be about to give up after an outage that has just ended.
    this.#refreshAgain = this.#refreshing !== undefined;
    if (this.#refreshAgain) return;
    this.refresh().catch((error: unknown) => {
      this.#options.log("debug", "the view cannot be read", { error: messageOf(error) });
    });
  }

  #reread(): Promise<View> {
    return this.#register.change((base) => this.#placed(base), REFRESH_MS);
  }

  #rereadLater(round: number): void {
    if (this.#over) return;
    this.#cancelReread = this.#options.clock.timer(REREAD_MS, () => {
      this.#refreshSoon();
      // Every node reads every lease: seldom, for what a watch may never have shown. Silence is asked after at once anyway.
      if (round % LEASES_EVERY_REREADS === 0) void this.#peers.readAll();
      this.#rereadLater(round + 1);
    });
  }

  #fenced(reason: string): void {
    this.#options.log("error", "fenced: this node was evicted; its sessions end here", { reason });
    // Before the event: the next life of this node waits for the lease to run out unless it is gone.
    this.#ended ??= this.#end().then(() => this.#lease.drop());
    this.#options.events.onFenced(reason);
  }

  async #end(): Promise<void> {
    this.#closing.abort();
    this.#cancelReread?.();
    this.#stopWatch?.();
    this.#peers.stop();
    await this.#lease.stop();
  }

  get #over(): boolean {
    return this.#closing.signal.aborted;
  }
}

function ended(): MeshError {
  return new MeshError("suspended", "this node does not take part in the mesh any more");
}
