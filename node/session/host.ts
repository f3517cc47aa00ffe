// The object in each worker that runs its session servers. It finds the cell of a call, keeps the clocks that all cells share (idle
// time, time limits), wakes cells when the lease opens, and reports each end once.

import { MeshError, formatFence, type Fence, type SessionId, type SessionKey } from "#proto";
import type { PlacementWish } from "#placement";
import {
  systemClock,
  type ClientEnd,
  type Clock,
  type ConnectReply,
  type Lease,
  type SessionCall,
  type SessionHost,
  type SessionReply,
} from "#mesh";
import type { SessionInfo } from "../ipc.ts";
import type { Log } from "../log.ts";
import type { MeshApplication } from "./application.ts";
import { STOP_LIMIT_MS } from "./cell-context.ts";
import { CellKind, type CellHost } from "./cell-kind.ts";
import { Cell } from "./cell.ts";
import { CrashBackoff } from "./crash-backoff.ts";
import { current, outside } from "./current.ts";
import { CutOffLog } from "./cut-off-log.ts";
import { DeadlineSweep, SWEEP_MS } from "./deadline-sweep.ts";
import type { EndReason, StopReason } from "./end-reason.ts";
import type { ClientErrors } from "./failure-text.ts";
import { requestRefusal, socketRefusal } from "./unserved.ts";
import { stopInStrides, stopQuietInStrides } from "./stop-in-strides.ts";
import { createStubs, type MeshSessions } from "./stub.ts";
import { turns } from "./turns.ts";

/** Idle sessions stopped in one sweep. Too small: a burst of short sessions lingers; too large: `onStop` hooks stall the worker. */
const IDLE_STOPS_MAX = 2_000;
/** Cells resumed in one turn of the event loop after the lease opens again, so that sockets and timers get their turns in between. */
const RESUMES_MAX = 64;
/** Deadlines that pass in one turn of the event loop, for the same reason. */
const EXPIRIES_MAX = 512;
/** Inactive sessions that are passed at a time. Too large: stalls a worker of a million sessions. */
const ACTIVE_STRIDE = 10_000;

export interface SessionHostOptions {
  readonly application: MeshApplication;
  readonly node: string;
  readonly worker: number;
  readonly lease: Lease;
  readonly log: Log;
  /** Carries the calls of stubs. */
  readonly callSession: (call: SessionCall) => SessionReply | Promise<SessionReply>;
  /** Exactly once for each server. `error`: what it crashed of or was killed for. */
  readonly onEnded: (id: SessionId, fence: Fence, reason: EndReason, error?: unknown) => void;
  /** What clients are told of errors of session code. Default: `brief`. */
  readonly clientErrors?: ClientErrors;
  /** What sessions see as `ctx.env`. Default: a copy of the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
}

/** A live session in detail. */
export interface SessionDescription extends SessionInfo {
  /** Timers set and not yet done. */
  readonly timers: number;
  /** Since its server was created. */
  readonly ageMs: number;
}

export interface SessionHostControl extends SessionHost {
  /** Live session servers. */
  readonly size: number;
  /** For the application's own `fetch`. */
  readonly stubs: MeshSessions;
  /** Ends one session in order; resolves when it has ended, after 5 s at most. Nothing when it is not here. */
  stop(key: SessionKey, reason: StopReason): Promise<void>;
  /** The same for all of them, in `limitMs` at most. */
  stopAll(reason: StopReason, limitMs: number): Promise<void>;
  /** From now on each ends in order as soon as nothing of it is under way: no event, socket, `waitUntil` or timer that keeps it. Idempotent. */
  drain(): void;
  /** The node is fenced: everything ends at once, no session code runs any more. */
  dropAll(closeCode: number): void;
  /** Ends a session whose turn was ended by force, and starts again what that may have torn off. */
  kill(key: SessionKey, error: MeshError): void;
  /** The session whose code runs now. */
  running(): SessionId | undefined;
  describe(key: SessionKey): SessionDescription | undefined;
  /** Drops what is left and stops the clocks. Idempotent. */
  close(): void;
}

/** The host of sessions that share the memory of this process. */
export interface SharedSessionHost extends SessionHostControl {
  /** Requests, messages and timers so far; handshakes are not among them. */
  readonly events: number;
  /** Sessions that did something within that time. Undefined: many others were passed, a chance to pause. */
  active(withinMs: number): Iterable<Cell | undefined>;
  /**
   * Ends idle sessions before their time, in order; those first that have been idle for longest. Leaves alone what a timer keeps, and
   * classes that never idle. Returns how many it stops, `count` at most.
   */
  stopIdle(count: number): number;
}

export function createSessionHost(options: SessionHostOptions): SharedSessionHost {
  return new Host(options);
}

class Host implements SharedSessionHost, CellHost {
  readonly node: string;
  readonly worker: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly lease: Lease;
  readonly clock: Clock;
  readonly deadlines: DeadlineSweep;
  readonly cutOffs: CutOffLog;
  readonly stubs: MeshSessions;
  readonly clientErrors: ClientErrors;
  nowMs = 0;
  events = 0;
  readonly #options: SessionHostOptions;
  readonly #kinds: ReadonlyMap<string, CellKind>;
  readonly #cells = new Map<SessionKey, Cell>();
  readonly #backoff = new CrashBackoff();
  readonly #beganAt: number;
  readonly #beganAtDate = Date.now();
  /** Cells with something that waits for the lease. */
  readonly #held = new Set<Cell>();
  #awaitsLease = false;
  /** The cell whose constructor runs in `activate`: its end is reported after `activate` has returned. */
  #activating: Cell | undefined = undefined;
  #cancelSweep: () => void = () => {};
  #draining = false;
  #closed = false;

  constructor(options: SessionHostOptions) {
    this.#options = options;
    this.node = options.node;
    this.worker = options.worker;
    this.env = options.env ?? Object.freeze({ ...process.env });
    this.log = options.log;
    this.lease = options.lease;
    this.clientErrors = options.clientErrors ?? "brief";
    this.clock = options.clock ?? systemClock;
    this.#beganAt = this.clock.now();
    this.deadlines = new DeadlineSweep(() => this.clock.now());
    this.cutOffs = new CutOffLog(this.log);
    this.stubs = createStubs({
      kindOf: (kind) => options.application.kindOf(kind),
      callSession: options.callSession,
      lease: options.lease,
    });
    this.#kinds = new Map([...options.application.kinds.values()].map((kind) => [kind.name, new CellKind(kind, this)]));
    this.#sweepLater();
  }

  get size(): number {
    return this.#cells.size;
  }

  // ---- SessionHost ----

  has(key: SessionKey): boolean {
    return this.#cells.has(key);
  }

  activate(id: SessionId, fence: Fence): void {
    const kind = this.#kinds.get(id.kind) ?? this.#unknown(id.kind);
    this.#backoff.admit(id.key, this.clock.now());
    const cell = new Cell(kind, id, fence);
    this.#cells.set(id.key, cell);
    this.#activating = cell;
    cell.begin();
    this.#activating = undefined;
  }

  fetch(call: SessionCall): SessionReply | Promise<SessionReply> {
    return (this.#cells.get(call.id.key) ?? this.#absent(call)).fetch(call);
  }

  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply> {
    const cell = this.#cells.get(call.id.key);
    if (cell !== undefined) return cell.connect(call, client);
    return { status: "refused", error: notHere(call) };
  }

  *sessions(): Iterable<{ readonly id: SessionId; readonly fence: Fence }> {
    yield* this.#cells.values();
  }

  refusalOf(id: SessionId, upgrade: boolean): MeshError | undefined {
    const kind = this.#options.application.kind(id.kind);
    return upgrade ? socketRefusal(kind, id) : requestRefusal(kind, id);
  }

  wishOf(kind: string): PlacementWish {
    return this.#options.application.kind(kind).options.placement;
  }

  // ---- control ----

  async stop(key: SessionKey, reason: StopReason): Promise<void> {
    await this.#cells.get(key)?.stop(reason, STOP_LIMIT_MS);
  }

  async stopAll(reason: StopReason, limitMs: number): Promise<void> {
    await stopInStrides(this.#cells.values(), reason, limitMs, this.clock);
    this.cutOffs.sum();
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    // Those that are busy, or suspended, are found by the sweep when they are not any more.
    stopQuietInStrides(this.#cells.values(), "drain", STOP_LIMIT_MS, this.lease);
  }

  dropAll(closeCode: number): void {
    for (const cell of this.#cells.values()) cell.drop(closeCode);
  }

  kill(key: SessionKey, error: MeshError): void {
    outside(() => {
      this.#cells.get(key)?.kill(error);
      turns.mend(error);
      this.#awaitsLease = false;
      this.#awaitLease();
      this.#sweepLater();
    });
  }

  *active(withinMs: number): Iterable<Cell | undefined> {
    let passed = 0;
    for (const cell of this.#cells.values()) {
      // Whoever goes on after a pause wants those of then.
      if (cell.activeAt >= this.nowMs - withinMs) yield cell;
      else if (++passed % ACTIVE_STRIDE === 0) yield undefined;
    }
  }

  stopIdle(count: number): number {
    // A suspended session could not run its `onStop`.
    if (!this.lease.isOpen()) return 0;
    const kinds = [...this.#kinds.values()].filter((kind) => kind.options.idleMs !== Infinity);
    let stopped = 0;
    for (let left = count; left > 0; left--) {
      const cell = longestIdle(kinds);
      if (cell === undefined) break;
      cell.kind.idle.remove(cell);
      if (!cell.quiet || cell.stopping || cell.keptByTimer) continue;
      void cell.stop("idle", STOP_LIMIT_MS);
      stopped++;
    }
    return stopped;
  }

  running(): SessionId | undefined {
    return current.getStore()?.id;
  }

  describe(key: SessionKey): SessionDescription | undefined {
    const cell = this.#cells.get(key);
    if (cell === undefined) return undefined;
    return {
      kind: cell.id.kind,
      name: cell.id.name,
      node: this.node,
      worker: this.worker,
      fence: formatFence(cell.fence),
      state: cell.state,
      sockets: cell.belongings.sockets.size,
      inFlight: cell.belongings.unfinishedCount,
      timers: cell.belongings.timers.size,
      createdAt: this.#dateOf(cell.createdAt),
      lastActiveAt: this.#dateOf(cell.activeAt),
      ageMs: this.#elapsedMs() - cell.createdAt,
    };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.dropAll(1012);
    this.#cancelSweep();
    this.#held.clear();
  }

  // ---- CellHost ----

  hold(cell: Cell): void {
    if (this.lease.isOpen()) {
      turns.queue(cell);
      return;
    }
    this.#held.add(cell);
    this.#awaitLease();
  }

  cellEnded(cell: Cell, reason: EndReason, error: unknown): void {
    if (cell === this.#activating) {
      queueMicrotask(() => this.#report(cell, reason, error));
      return;
    }
    this.#report(cell, reason, error);
  }

  #report(cell: Cell, reason: EndReason, error: unknown): void {
    this.#cells.delete(cell.id.key);
    this.#held.delete(cell);
    if (reason === "crashed" || reason === "killed") this.#backoff.crashed(cell.id.key, this.clock.now());
    this.#options.onEnded(cell.id, cell.fence, reason, error);
  }

  // ---- the lease ----

  #awaitLease(): void {
    if (this.#awaitsLease || this.#held.size === 0 || this.#closed) return;
    this.#awaitsLease = true;
    outside(() => {
      void this.lease.whenOpen().then(() => {
        this.#awaitsLease = false;
        this.#resumeHeld();
      });
    });
  }

  #resumeHeld(): void {
    if (!this.lease.isOpen()) {
      this.#awaitLease();
      return;
    }
    // Before the work: whatever tears this turn off must not strand the cells behind it.
    if (this.#held.size > RESUMES_MAX) setImmediate(() => this.#resumeHeld());
    let left = RESUMES_MAX;
    for (const cell of this.#held) {
      if (left-- === 0) break;
      this.#held.delete(cell);
      turns.queue(cell);
    }
  }

  // ---- the clock ----

  #sweepLater(): void {
    this.#cancelSweep();
    if (this.#closed) return;
    this.#cancelSweep = this.clock.timer(SWEEP_MS, () => {
      // Before the work, for the same reason as above.
      this.#sweepLater();
      this.nowMs = this.#elapsedMs();
      this.cutOffs.sum();
      this.#expire();
      // A suspended session could not run its `onStop`.
      if (this.lease.isOpen()) for (const kind of this.#kinds.values()) this.#stopIdle(kind);
    });
  }

  #expire(): void {
    if (!this.deadlines.sweep(EXPIRIES_MAX) && !this.#closed) setImmediate(() => this.#expire());
  }

  #stopIdle(kind: CellKind): void {
    const due = this.#draining ? this.nowMs - 1 : this.nowMs - kind.options.idleMs;
    for (let left = IDLE_STOPS_MAX; left > 0; left--) {
      const cell = kind.idle.head;
      if (cell === undefined || cell.activeAt > due) return;
      kind.idle.remove(cell);
      // Busy cells come back to the list by themselves when they are done.
      if (!cell.quiet || cell.stopping) continue;
      if (cell.keptByTimer) cell.touch();
      else void cell.stop(this.#draining ? "drain" : "idle", STOP_LIMIT_MS);
    }
  }

  #elapsedMs(): number {
    return Math.floor(this.clock.now() - this.#beganAt);
  }

  #dateOf(elapsedMs: number): string {
    return new Date(this.#beganAtDate + elapsedMs).toISOString();
  }

  #absent(call: SessionCall): never {
    throw notHere(call);
  }

  #unknown(kind: string): never {
    this.#options.application.kind(kind);
    throw new MeshError("unknown_kind", `the application has no session kind "${kind}"`);
  }
}

/** Among the heads of the lists, which are the oldest of their kinds. */
function longestIdle(kinds: readonly CellKind[]): Cell | undefined {
  let oldest: Cell | undefined;
  for (const { idle } of kinds) {
    if (idle.head !== undefined && idle.head.activeAt < (oldest?.activeAt ?? Infinity)) oldest = idle.head;
  }
  return oldest;
}

function notHere(call: SessionCall): MeshError {
  return new MeshError("session_stopped", `${call.id.key} is not here any more`, { session: call.id.key });
}
