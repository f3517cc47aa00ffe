// Sees all of the mesh at once and in true time, and holds it to the invariants of docs/protocol.md after every step. The first violation
// ends the run. It also counts what happened, so that one sees whether the faults bite. It changes nothing in the mesh.

import { decodeLease, decodeView, formatFence, type Fence, type SessionKey, type View, type WorkerId } from "#proto";
import type { EndReason, Server } from "./host.ts";
import type { SimNode } from "./node.ts";
import type { Timeline } from "./timeline.ts";
import type { SimWorker } from "./worker.ts";

/** Numbers as in docs/protocol.md; 0: a promise of the code that no invariant names, such as that every wait ends. */
export type Invariant = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11;

export interface Violation {
  readonly invariant: Invariant;
  readonly atMs: number;
  readonly what: string;
}

/** What a run is held to beyond what always holds. */
export interface Strictness {
  /** No fault of it may suspend or fence anybody: 5. */
  readonly keepsLeases: boolean;
  /** Nothing but workers' deaths and orderly stops ends sessions: 4, 5, 7. */
  readonly keepsSessions: boolean;
  /** Somebody reaches the registry at any time that it is there, so a mesh that it forgot is told it again. */
  readonly keepsMesh: boolean;
}

export interface Counts {
  activations: number;
  handlers: number;
  answers: number;
  failures: number;
  views: number;
  marks: number;
  fences: number;
  suspends: number;
  resumes: number;
  outages: number;
  repairs: number;
  ghosts: number;
  joins: number;
  ended: Record<EndReason, number>;
}

interface Place {
  readonly server: Server;
  readonly worker: SimWorker;
}

export class Checker {
  readonly counts: Counts = {
    activations: 0,
    handlers: 0,
    answers: 0,
    failures: 0,
    views: 0,
    marks: 0,
    fences: 0,
    suspends: 0,
    resumes: 0,
    outages: 0,
    repairs: 0,
    ghosts: 0,
    joins: 0,
    ended: { stopped: 0, crashed: 0, killed: 0, moved: 0, drained: 0, evicted: 0, lost: 0 },
  };
  violation: Violation | undefined;
  /** What the registry forgot, when that is a known limit: the run ends there, and is counted. */
  cutShort: string | undefined;
  strictness: Strictness = { keepsLeases: false, keepsSessions: false, keepsMesh: false };
  trace: ((line: string) => void) | undefined;
  /** The registry has lost what it had acknowledged: whom it does not know may have to go. */
  #forgot = false;
  readonly #timeline: Timeline;
  readonly #places = new Map<SessionKey, Place[]>();
  /** Names that two servers of are in memory, one of which must not act. */
  readonly #doubles = new Set<SessionKey>();
  readonly #fences = new Map<SessionKey, Fence>();
  /** Who has read the state of a name last. */
  readonly #readers = new Map<string, Fence>();
  readonly #acknowledged = new Map<string, number>();
  readonly #started = new Map<string, WorkerId>();
  /** Lives of nodes, and what became of them, as the registry was told. */
  readonly #lives = new Map<string, SimNode>();
  readonly #evicted = new Set<string>();
  /** Those of them that no view has lost yet. */
  readonly #marked = new Set<string>();
  /** Of all views that were stored. */
  readonly #listed = new Set<string>();
  #founding = "";

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  fail(invariant: Invariant, what: string): void {
    this.violation ??= { invariant, atMs: Math.round(this.#timeline.now), what };
  }

  /** True once the run is over. */
  readonly afterStep = (): boolean => {
    if (this.#doubles.size > 0) this.#checkDoubles();
    return this.violation !== undefined || this.cutShort !== undefined;
  };

  /**
   * The registry has gone back, and holds these. A mark that it lost before any view followed from it was never acted on; nor does anybody act
   * on an eviction of which nobody who runs knows.
   */
  forgets(entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>): void {
    this.#forgot = true;
    const marks = new Set<string>();
    for (const { key, value } of entries) {
      if (key === "view") {
        for (const { incarnation } of decodeView(value).nodes)
          if (!this.#isRemembered(incarnation)) this.#evicted.delete(incarnation);
        continue;
      }
      const lease = decodeLease(value);
      if (lease.state === "evicted") marks.add(lease.incarnation);
    }
    for (const incarnation of this.#marked) if (!marks.has(incarnation)) this.#evicted.delete(incarnation);
  }

  #isRemembered(incarnation: string): boolean {
    return [...this.#lives.values()].some(
      (node) => node.running && node.membership?.view.departed?.includes(incarnation) === true,
    );
  }

  // ---- sessions ----

  activated(worker: SimWorker, server: Server): void {
    const { key } = server.id;
    this.counts.activations++;
    this.trace?.(`${worker.id} activates ${key} ${formatFence(server.fence)}`);
    const before = this.#fences.get(key);
    if (before !== undefined && !isAfter(server.fence, before)) {
      this.fail(2, `${key} got ${formatFence(server.fence)} on ${worker.id} after ${formatFence(before)}`);
    }
    this.#fences.set(key, server.fence);
    const places = this.#places.get(key) ?? [];
    for (const other of places) {
      if (!this.#isEvicted(other.worker)) {
        this.fail(4, `${key} starts on ${worker.id} although ${other.worker.id} hosts it and is in the view`);
      }
    }
    places.push({ server, worker });
    this.#places.set(key, places);
    if (places.length > 1) {
      this.counts.ghosts++;
      this.#doubles.add(key);
    }
    this.acts(worker, `activates ${key}`);
  }

  ended(worker: SimWorker, server: Server, reason: EndReason): void {
    const { key } = server.id;
    this.trace?.(`${worker.id} ends ${key}: ${reason}`);
    const places = this.#places.get(key) ?? [];
    const left = places.filter((place) => place.server !== server);
    if (left.length !== places.length - 1) this.fail(10, `${key} ends on ${worker.id} a second time: ${reason}`);
    this.#places.set(key, left);
    if (left.length < 2) this.#doubles.delete(key);
    this.counts.ended[reason]++;
    if (reason === "evicted" && !this.#forgot && !this.#evicted.has(worker.life)) {
      this.fail(4, `${worker.id} drops ${key} as evicted, and nobody evicted it`);
    }
    if (this.strictness.keepsSessions && (reason === "evicted" || reason === "crashed")) {
      this.fail(5, `${key} ends on ${worker.id}: ${reason}`);
    }
  }

  /** A worker's process ends, with all it has. */
  died(worker: SimWorker, reason: EndReason): void {
    for (const server of [...worker.host.servers.values()]) {
      server.ended = reason;
      worker.host.servers.delete(server.id.key);
      this.ended(worker, server, reason);
    }
  }

  handlerStarted(worker: SimWorker, server: Server, request: string): void {
    this.counts.handlers++;
    const before = this.#started.get(request);
    if (before !== undefined) this.fail(9, `request ${request} for ${server.id.key} ran on ${before} and ${worker.id}`);
    this.#started.set(request, worker.id);
    this.acts(worker, `starts a handler of ${server.id.key}`);
  }

  /** Whatever is not alive has ended for a reason that was recorded. */
  checkReasons(): void {
    for (const [key, places] of this.#places) {
      for (const { worker } of places) {
        if (!worker.process.alive || worker.closed)
          this.fail(10, `${key} went with ${worker.id} for no recorded reason`);
      }
    }
  }

  /** Runs session code, writes or answers. */
  acts(worker: SimWorker, what: string): void {
    if (!(worker.clock.now() < worker.deadline)) this.fail(3, `${worker.id} ${what} past its deadline`);
    if (this.#isEvicted(worker)) this.fail(3, `${worker.id} ${what} although it was evicted`);
  }

  read(key: string, fence: Fence, value: number): void {
    this.#readers.set(key, fence);
    const acknowledged = this.#acknowledged.get(key) ?? 0;
    if (value < acknowledged) this.fail(8, `${key} reads ${value} after ${acknowledged} was acknowledged`);
  }

  wrote(key: string, fence: Fence, value: number): void {
    const reader = this.#readers.get(key);
    if (reader !== undefined && isAfter(reader, fence)) {
      this.fail(8, `${formatFence(fence)} writes ${value} for ${key}, which ${formatFence(reader)} has read`);
    }
    const acknowledged = this.#acknowledged.get(key) ?? 0;
    if (value <= acknowledged)
      this.fail(8, `${value} is written for ${key} over ${acknowledged}, which a client has seen`);
  }

  answered(server: Server, value: number): void {
    this.counts.answers++;
    this.#acknowledged.set(server.id.key, Math.max(value, this.#acknowledged.get(server.id.key) ?? 0));
  }

  hostsOf(key: SessionKey): readonly SimWorker[] {
    return (this.#places.get(key) ?? []).map((place) => place.worker);
  }

  // ---- nodes ----

  joining(node: SimNode): void {
    this.#lives.set(node.incarnation, node);
  }

  joined(): void {
    this.counts.joins++;
  }

  fenced(node: SimNode): void {
    this.counts.fences++;
    this.trace?.(`${node.incarnation} is fenced`);
    if (this.strictness.keepsLeases) this.fail(5, `${node.incarnation} was fenced`);
    if (!this.#forgot && !this.#evicted.has(node.incarnation))
      this.fail(4, `${node.incarnation} was fenced and nobody evicted it`);
  }

  leaseMoved(worker: SimWorker): void {
    if (this.#doubles.size > 0 && worker.host.servers.size > 0) this.#checkDoubles();
  }

  viewSeen(): void {
    this.counts.views++;
  }

  logged(node: SimNode, message: string): void {
    this.trace?.(`${node.incarnation}: ${message}`);
    if (message.startsWith("suspended")) {
      this.counts.suspends++;
      if (this.strictness.keepsLeases) this.fail(5, `${node.incarnation} was suspended`);
    } else if (message.startsWith("resumed")) this.counts.resumes++;
    else if (message.startsWith("no node of the view")) this.counts.outages++;
    else if (message.includes("proposed it again")) this.counts.repairs++;
  }

  // ---- the registry ----

  /** What is about to be stored, while what was stored is still there to be compared. */
  written(key: string, value: Uint8Array | undefined, before: Uint8Array | undefined): void {
    if (value === undefined) return;
    if (key === "view") this.#viewWritten(decodeView(value), before === undefined ? undefined : decodeView(before));
    else this.#leaseWritten(key, value);
  }

  #leaseWritten(key: string, value: Uint8Array): void {
    const lease = decodeLease(value);
    if (lease.state !== "evicted") return;
    this.counts.marks++;
    this.trace?.(`${lease.by} marks ${key} ${lease.incarnation}`);
    if (!this.#evicted.has(lease.incarnation)) this.#marked.add(lease.incarnation);
    this.#removed(lease.incarnation, `${lease.by} evicts it`);
  }

  #limit(forgotten: string): void {
    this.cutShort ??= forgotten;
  }

  /** A newcomer cannot know of those whom the registry has forgotten, until they say so. */
  #checkMemory(view: View, before: View | undefined): void {
    const members = [...this.#lives].filter(([life, node]) => this.#isMember(life, node));
    if (this.#founding !== "" && view.founding !== this.#founding && before === undefined) {
      if (this.strictness.keepsMesh && members.length > 0)
        this.fail(5, "a newcomer founded another mesh beside members who reach the registry");
      this.#limit("the mesh, which no member told it again before a newcomer founded another");
    }
    this.#founding = view.founding;
    for (const { incarnation } of view.nodes) {
      const isBack =
        this.#evicted.has(incarnation) && before?.nodes.every((one) => one.incarnation !== incarnation) !== false;
      if (isBack && before?.departed?.includes(incarnation) !== true && !this.#isRemembered(incarnation))
        this.#limit("an eviction, all who knew of it being dead");
    }
    for (const [life] of members) {
      const known = [view, before].some((one) => one?.nodes.some((other) => other.incarnation === life));
      if (!known) this.#limit("a join, until its node says so");
    }
  }

  #viewWritten(view: View, before: View | undefined): void {
    if (this.#forgot) this.#checkMemory(view, before);
    else this.#founding = view.founding;
    for (const node of view.nodes) this.#listed.add(node.incarnation);
    this.trace?.(
      `view ${view.epoch}: ${view.nodes.map((node) => `${node.incarnation}:${node.workers.length}`).join(" ")}`,
    );
    const held = new Set(view.nodes.map((node) => node.incarnation));
    for (const node of before?.nodes ?? []) {
      if (held.has(node.incarnation)) continue;
      this.#marked.delete(node.incarnation);
      this.#removed(node.incarnation, `view ${view.epoch} lacks it`);
    }
  }

  #isMember(life: string, node: SimNode): boolean {
    const lives = node.running && node.incarnation === life && !node.leaving && !node.fencing;
    return lives && this.#listed.has(life) && !this.#evicted.has(life);
  }

  /** Nobody may lose its place while it may act: the safety of the whole rests on it. */
  #removed(incarnation: string, how: string): void {
    if (this.#evicted.has(incarnation)) return;
    const node = this.#lives.get(incarnation);
    this.#evicted.add(incarnation);
    if (node === undefined || node.incarnation !== incarnation || node.leaving) return;
    for (const worker of node.workers) {
      if (!worker.process.alive || worker.closed) continue;
      if (worker.lease.isOpen()) this.fail(3, `${worker.id} may still act when ${how}`);
    }
  }

  #isEvicted(worker: SimWorker): boolean {
    return !worker.node.leaving && this.#evicted.has(worker.life);
  }

  #checkDoubles(): void {
    for (const key of this.#doubles) {
      const able = (this.#places.get(key) ?? []).filter(
        ({ worker }) => worker.process.alive && !worker.closed && worker.lease.isOpen(),
      );
      if (able.length > 1) this.fail(1, `${key} has servers on ${able.map(({ worker }) => worker.id).join(" and ")}`);
    }
  }
}

/** Its own, so that a mistake in the product's is not judged by itself. */
function isAfter(a: Fence, b: Fence): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.claim > b.claim);
}
