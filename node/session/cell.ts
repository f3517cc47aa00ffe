// One session's life: what the host holds of it, and the only way into its code. A cell lets events in one gate: they run while
// nothing holds them (a start, `blockConcurrencyWhile`, a serial turn, a stop, a closed lease) and wait in order otherwise.
// Whatever escapes from session code ends this cell and nothing else. Fields that idle sessions do not need are undefined, since
// there are millions of cells.

import { MeshError, messageOf, type Fence, type SessionId } from "#proto";
import type { ClientEnd, ConnectReply, SessionCall, SessionReply } from "#mesh";
import { CellContext } from "./cell-context.ts";
import type { CellKind } from "./cell-kind.ts";
import type { CellSocket } from "./cell-socket.ts";
import { current, isThenable, outside } from "./current.ts";
import type { Expiring } from "./deadline-sweep.ts";
import { stopEndings, type EndReason, type StopReason } from "./end-reason.ts";
import type { IdleNode } from "./idle-list.ts";
import { requestFaultOf } from "./request-fault.ts";
import { ConnectTurn } from "./connect-turn.ts";
import { FetchTurn } from "./fetch-turn.ts";
import type { SessionServer } from "./server.ts";
import type { SessionTimer } from "./session-timer.ts";

/** Events that may wait for one session. Too small: a slow start refuses a crowd; too large: a stuck session holds much memory. */
const EVENTS_WAITING_MAX = 1_000;
/** Turns of one session under way at once. Too small: refuses a crowd of long polls; too large: a stuck session holds much memory. */
const TURNS_MAX = 10_000;
/** How long `onStart` or `blockConcurrencyWhile` may hold all events. Without it, a promise that never settles makes a name unusable. */
const BLOCK_LIMIT_MS = 30_000;

/** Something that waits for the gate. */
export interface WaitingEvent {
  run(): void;
  /** The session has ended first. */
  refuse(error: MeshError): void;
}

/** Work that outlives its first turn and must hear of the end. Linked through itself: most sessions have none. */
export interface Unfinished {
  unfinishedPrev: Unfinished | undefined;
  unfinishedNext: Unfinished | undefined;
  fail(error: MeshError): void;
}

type Stage =
  /** No server object yet: the lease was closed. */
  | "created"
  /** The constructor has run, `onStart` has not. */
  | "constructed"
  | "starting"
  | "running"
  | "ended";

interface Stop extends Expiring {
  readonly reason: StopReason;
  readonly done: PromiseWithResolvers<void>;
  /** `turns`: requests under way finish. `hook`: `onStop` runs. `rest`: bodies and `waitUntil` finish. */
  phase: "turns" | "hook" | "rest";
}

/** What only few sessions have. */
interface Rarities {
  abort?: AbortController;
  stop?: Stop;
  error?: MeshError;
}

export class Cell implements IdleNode<Cell> {
  readonly kind: CellKind;
  readonly id: SessionId;
  readonly fence: Fence;
  /** Defined from construction to end. */
  server: SessionServer | undefined = undefined;
  idlePrev: Cell | undefined = undefined;
  idleNext: Cell | undefined = undefined;
  /** Milliseconds since the host began: small integers stay out of the heap. */
  readonly createdAt: number;
  activeAt: number;
  /** Tells timers set before the present hold from those set in it, which it may be waiting for. */
  section = 0;
  #heldSince = 0;
  /** The gate is open at 0. The start is the first hold; a stop is one that never goes. */
  #holds = 1;
  /** Entries into session code that have not settled. The start counts as one. */
  #turns = 1;
  /** `waitUntil` promises and response bodies under way. */
  #waits = 0;
  #stage: Stage = "created";
  #waiting: WaitingEvent[] | undefined = undefined;
  #pumping = false;
  #unfinished: Unfinished | undefined = undefined;
  #sockets: Set<CellSocket> | undefined = undefined;
  #timers: Set<SessionTimer> | undefined = undefined;
  #rare: Rarities | undefined = undefined;

  constructor(kind: CellKind, id: SessionId, fence: Fence) {
    this.kind = kind;
    this.id = id;
    this.fence = fence;
    this.createdAt = kind.host.nowMs;
    this.activeAt = this.createdAt;
  }

  get ended(): boolean {
    return this.#stage === "ended";
  }

  get state(): "starting" | "running" | "stopping" | "ended" {
    if (this.#stage === "ended") return "ended";
    if (this.#rare?.stop !== undefined) return "stopping";
    return this.#stage === "running" ? "running" : "starting";
  }

  get socketCount(): number {
    return this.#sockets?.size ?? 0;
  }

  get timerCount(): number {
    return this.#timers?.size ?? 0;
  }

  get unfinishedCount(): number {
    let count = 0;
    for (let entry = this.#unfinished; entry !== undefined; entry = entry.unfinishedNext) count++;
    return count;
  }

  // ---- events from outside ----

  fetch(call: SessionCall): SessionReply | Promise<SessionReply> {
    const turn = new FetchTurn(this, call);
    if (!this.#open()) return this.#later(turn);
    if (this.#turns >= TURNS_MAX) throw this.#overloaded(`${TURNS_MAX} events of ${this.id.key} are under way already`);
    return turn.start();
  }

  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply> {
    const refuse = (error: unknown): ConnectReply => ({ status: "refused", error: MeshError.from(error) });
    try {
      const turn = new ConnectTurn(this, call, client);
      const reply = this.#open() ? turn.start() : this.#later(turn);
      return reply instanceof Promise ? reply.catch(refuse) : reply;
    } catch (error) {
      return refuse(error);
    }
  }

  /**
   * Runs `code` as one turn, now or when the gate opens. Never throws or rejects.
   * @param bounded false for events that must not be lost and that something else bounds
   * @returns undefined when too many wait already
   */
  event(
    code: (server: SessionServer) => unknown,
    bounded: boolean,
  ): { readonly settled: void | Promise<void> } | undefined {
    if (this.ended) return { settled: undefined };
    if (this.#open()) return { settled: this.#turn(code) };
    if (bounded && (this.#waiting?.length ?? 0) >= EVENTS_WAITING_MAX) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#enqueue({ run: () => resolve(this.#turn(code)), refuse: () => resolve() });
    return { settled: promise };
  }

  /**
   * A timer of the session is due. It must not wait for a hold that may be waiting for it, so only timers set before the hold do. Each
   * timer waits at most once, which bounds them.
   */
  timerDue(timer: SessionTimer, code: () => unknown): void {
    if (this.ended || timer.queued) return;
    const inTime = this.#holds === 0 ? this.#waiting === undefined : timer.section >= this.#heldSince;
    if (inTime && this.kind.host.lease.isOpen()) {
      void this.#turn(code);
      return;
    }
    timer.queued = true;
    this.#enqueue({
      run: () => {
        timer.queued = false;
        if (this.#timers?.has(timer) === true) void this.#turn(code);
      },
      refuse: () => {},
    });
  }

  #open(): boolean {
    return this.#holds === 0 && this.#waiting === undefined && this.kind.host.lease.isOpen();
  }

  #later<Reply>(turn: { wait(): Promise<Reply> } & WaitingEvent): Promise<Reply> {
    if (this.ended) throw this.error();
    if ((this.#waiting?.length ?? 0) >= EVENTS_WAITING_MAX) {
      throw this.#overloaded(`${EVENTS_WAITING_MAX} events are waiting for ${this.id.key} already`);
    }
    this.#enqueue(turn);
    return turn.wait();
  }

  #overloaded(message: string): MeshError {
    return new MeshError("overloaded", message, { session: this.id.key, retryAfterMs: 1_000 });
  }

  #enqueue(event: WaitingEvent): void {
    this.#waiting ??= [];
    this.#waiting.push(event);
    if (!this.kind.host.lease.isOpen()) this.kind.host.hold(this);
  }

  // ---- life ----

  /** Creates the server object, as soon as the lease lets session code run. Never throws. */
  begin(): void {
    if (!this.kind.host.lease.isOpen()) {
      this.kind.host.hold(this);
      return;
    }
    this.#stage = "constructed";
    try {
      this.server = current.run(this, construct, this);
    } catch (error) {
      this.crash(error);
      return;
    }
    // Ended from within its own constructor.
    if (this.ended) this.server = undefined;
    this.#startIfUnblocked();
  }

  /** The lease is open again. */
  resume(): void {
    if (this.ended) return;
    if (this.#stage === "created") this.begin();
    this.#pump();
    this.#stopFurther();
  }

  #startIfUnblocked(): void {
    const { server } = this;
    // A stop that began in the constructor holds too; it still lets the start end, without running it.
    if (this.#stage !== "constructed" || server === undefined || this.#holds !== (this.stopping ? 2 : 1)) return;
    this.#stage = "starting";
    let result: unknown;
    try {
      if (!this.stopping) result = current.run(this, callStart, server);
    } catch (error) {
      this.crash(error);
      return;
    }
    if (!isThenable(result)) {
      this.#started();
      return;
    }
    void this.#limited(result, "onStart").then(
      () => this.#started(),
      (error: unknown) => this.crash(error),
    );
  }

  #started(): void {
    if (this.ended) return;
    this.#stage = "running";
    this.release();
    this.endTurn();
  }

  get stopping(): boolean {
    return this.#rare?.stop !== undefined;
  }

  /** Nothing is under way, so the session may idle. */
  get quiet(): boolean {
    return (
      this.#stage === "running" &&
      this.#turns === 0 &&
      this.#waits === 0 &&
      this.#waiting === undefined &&
      (this.#sockets === undefined || this.#sockets.size === 0)
    );
  }

  /** A timer that would keep a Node process alive keeps its session alive. */
  get keptByTimer(): boolean {
    if (this.#timers !== undefined) for (const timer of this.#timers) if (timer.hasRef()) return true;
    return false;
  }

  // ---- turns and holds ----

  hold(): void {
    if (this.#holds++ === 0) this.#heldSince = ++this.section;
  }

  release(): void {
    if (this.ended) return;
    this.#holds--;
    this.#startIfUnblocked();
    if (this.#holds === 0 && this.#waiting !== undefined) outside(() => this.#pump());
  }

  beginTurn(): void {
    this.#turns++;
    if (this.kind.options.serial) this.hold();
  }

  /** The code of a turn has settled. */
  leaveTurn(): void {
    if (this.kind.options.serial) this.release();
  }

  /** The turn counts no longer: it has settled, or nobody waits for it any more. */
  endTurn(): void {
    this.#turns--;
    this.#calmed();
  }

  beginWait(): void {
    this.#waits++;
  }

  endWait(): void {
    this.#waits--;
    this.#calmed();
  }

  #calmed(): void {
    if (this.ended) return;
    if (this.stopping) outside(() => this.#stopFurther());
    else this.touch();
  }

  touch(): void {
    this.activeAt = this.kind.host.nowMs;
    if (this.quiet) this.kind.idle.touch(this);
  }

  #turn(code: (server: SessionServer) => unknown): void | Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.beginTurn();
    let result: unknown;
    try {
      result = current.run(this, code, server);
    } catch (error) {
      this.#failTurn(error);
      return;
    }
    if (!isThenable(result)) {
      this.#settleTurn();
      return;
    }
    return Promise.resolve(result).then(
      () => this.#settleTurn(),
      (error: unknown) => this.#failTurn(error),
    );
  }

  #failTurn(error: unknown): void {
    // First, or a serial session would let in the next event before it ends.
    this.fault(error);
    this.#settleTurn();
  }

  #settleTurn(): void {
    this.leaveTurn();
    this.endTurn();
  }

  #pump(): void {
    // A serial turn that ends at once opens the gate again: the loop goes on, instead of one more loop inside each event.
    if (this.#pumping) return;
    this.#pumping = true;
    // Waiting events keep their order: the list stays in place, so that newcomers queue behind it until it is empty.
    while (this.#waiting !== undefined && this.#holds === 0 && this.kind.host.lease.isOpen()) {
      const event = this.#waiting.shift();
      if (event === undefined) this.#waiting = undefined;
      else event.run();
    }
    this.#pumping = false;
    if (this.#waiting !== undefined && !this.kind.host.lease.isOpen()) this.kind.host.hold(this);
    if (this.quiet && !this.stopping) this.touch();
  }

  /** Rejects when the promise is not settled in time. */
  #limited<Value>(work: PromiseLike<Value>, what: string): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const limit: Expiring = {
      dueTick: 0,
      expire: () =>
        reject(new MeshError("timeout", `${what} of ${this.id.key} did not settle within ${BLOCK_LIMIT_MS} ms`)),
    };
    this.kind.host.deadlines.add(limit, BLOCK_LIMIT_MS);
    const settled = (): void => this.kind.host.deadlines.remove(limit);
    Promise.resolve(work).then(resolve, reject).finally(settled);
    return promise;
  }

  // ---- what session code may ask through its context ----

  async blockConcurrencyWhile<Result>(fn: () => Promise<Result>): Promise<Result> {
    this.hold();
    this.beginWait();
    try {
      return await this.#limited((async () => fn())(), "blockConcurrencyWhile");
    } catch (error) {
      this.crash(error);
      throw error;
    } finally {
      this.release();
      this.endWait();
    }
  }

  waitUntil(promise: PromiseLike<unknown>): void {
    if (this.ended) return;
    this.beginWait();
    void Promise.resolve(promise).then(
      () => this.endWait(),
      (error: unknown) => {
        this.fault(error);
        this.endWait();
      },
    );
  }

  get signal(): AbortSignal {
    this.#rare ??= {};
    this.#rare.abort ??= new AbortController();
    if (this.ended) this.#rare.abort.abort(this.error());
    return this.#rare.abort.signal;
  }

  // ---- what belongs to it ----

  get sockets(): Iterable<CellSocket> {
    return this.#sockets ?? [];
  }

  addSocket(socket: CellSocket): void {
    this.#sockets ??= new Set();
    this.#sockets.add(socket);
  }

  removeSocket(socket: CellSocket): void {
    if (this.#sockets?.delete(socket) !== true) return;
    if (this.#sockets.size === 0) this.#sockets = undefined;
  }

  addTimer(timer: SessionTimer): void {
    this.#timers ??= new Set();
    this.#timers.add(timer);
  }

  removeTimer(timer: SessionTimer): void {
    if (this.#timers?.delete(timer) !== true) return;
    if (this.#timers.size === 0) this.#timers = undefined;
  }

  timerNumbered(number: number): SessionTimer | undefined {
    return [...(this.#timers ?? [])].find((timer) => timer.number === number);
  }

  addUnfinished(entry: Unfinished): void {
    entry.unfinishedNext = this.#unfinished;
    if (this.#unfinished !== undefined) this.#unfinished.unfinishedPrev = entry;
    this.#unfinished = entry;
  }

  removeUnfinished(entry: Unfinished): void {
    const { unfinishedPrev, unfinishedNext } = entry;
    if (unfinishedPrev !== undefined) unfinishedPrev.unfinishedNext = unfinishedNext;
    else if (this.#unfinished === entry) this.#unfinished = unfinishedNext;
    if (unfinishedNext !== undefined) unfinishedNext.unfinishedPrev = unfinishedPrev;
    entry.unfinishedPrev = undefined;
    entry.unfinishedNext = undefined;
  }

  // ---- the end ----

  /** Ends in order: requests under way, `onStop`, bodies and `waitUntil`. What takes longer than the limit is cut off. */
  stop(reason: StopReason, limitMs: number): Promise<void> {
    if (this.ended) return Promise.resolve();
    if (this.#rare?.stop !== undefined) return this.#rare.stop.done.promise;
    const stop: Stop = {
      reason,
      phase: "turns",
      done: Promise.withResolvers<void>(),
      dueTick: 0,
      expire: () => {
        this.kind.host.log.warn("session was cut off: it did not stop in time", {
          session: this.id.key,
          reason,
          limitMs,
        });
        this.#finishStop(stop);
      },
    };
    this.#rare = { ...this.#rare, stop };
    // Not through hold(): timers that the last requests wait for must go on.
    this.#holds++;
    this.kind.host.deadlines.add(stop, limitMs);
    if (this.#stage === "created") this.#finishStop(stop);
    else this.#stopFurther();
    return stop.done.promise;
  }

  #stopFurther(): void {
    const stop = this.#rare?.stop;
    if (stop === undefined || this.ended) return;
    if (stop.phase === "turns" && this.#turns === 0) {
      if (!this.kind.host.lease.isOpen()) {
        this.kind.host.hold(this);
        return;
      }
      stop.phase = "hook";
      const hook = this.#turn((server) => server.onStop?.(stop.reason));
      if (hook === undefined) stop.phase = "rest";
      else void hook.then(() => this.#enterRest(stop));
    }
    if (stop.phase === "rest" && this.#waits === 0) this.#finishStop(stop);
  }

  #enterRest(stop: Stop): void {
    stop.phase = "rest";
    this.#stopFurther();
  }

  #finishStop(stop: Stop): void {
    const { reason, closeCode } = stopEndings[stop.reason];
    this.#finish(
      reason,
      closeCode,
      `session stopped: ${stop.reason}`,
      this.#lost(`the session stopped (${stop.reason})`),
    );
  }

  /** An error escaped from session code. Nothing of it but the session ends. */
  crash(error: unknown): void {
    if (this.ended) return;
    const { log } = this.kind.host;
    const crashed = new MeshError("session_crashed", "the session crashed; the log of its node says why", {
      session: this.id.key,
      cause: error,
    });
    outside(() =>
      log.error("session crashed", { session: this.id.key, error: messageOf(error), stack: stackOf(error) }),
    );
    this.#finish("crashed", 1011, "session crashed", crashed, crashed, error);
  }

  /** An error of session code: the request's, or a crash. Returns what the caller gets. */
  fault(error: unknown): MeshError {
    const requestFault = requestFaultOf(error);
    if (requestFault !== undefined) return requestFault;
    this.crash(error);
    return this.error();
  }

  /** Somebody ended the session's turn by force. */
  kill(error: MeshError): void {
    this.#finish("killed", 1011, "session killed", error, error, error);
  }

  /** The node may not act for this session any more: nothing of it runs, not even `onStop`. */
  drop(closeCode: number): void {
    this.#finish("evicted", closeCode, "session lost its host", this.#lost("the node of the session was evicted"));
  }

  /** Why requests to an ended session fail. */
  error(): MeshError {
    return this.#rare?.error ?? this.#notRun();
  }

  #lost(why: string): MeshError {
    return new MeshError("session_lost", `${why} before it had answered`, { session: this.id.key });
  }

  #notRun(): MeshError {
    return new MeshError("session_stopped", `${this.id.key} stopped before it looked at the request`, {
      session: this.id.key,
    });
  }

  #finish(
    reason: EndReason,
    closeCode: number,
    closeText: string,
    begun: MeshError,
    notBegun: MeshError = this.#notRun(),
    error?: unknown,
  ): void {
    if (this.ended) return;
    this.#stage = "ended";
    this.#holds++;
    const rare = (this.#rare ??= {});
    rare.error = notBegun;
    this.kind.idle.remove(this);
    if (rare.stop !== undefined) this.kind.host.deadlines.remove(rare.stop);
    for (const timer of this.#timers ?? []) timer.clear();
    this.#timers = undefined;
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    // These are linked as unfinished too, but nothing of them has run.
    for (const event of waiting) event.refuse(notBegun);
    for (let entry = this.#unfinished; entry !== undefined; entry = this.#unfinished) {
      this.removeUnfinished(entry);
      entry.fail(begun);
    }
    for (const socket of this.#sockets ?? []) socket.drop(closeCode, closeText);
    this.#sockets = undefined;
    this.server = undefined;
    outside(() => this.kind.host.cellEnded(this, reason, error));
    rare.stop?.done.resolve();
    // Last, since it runs listeners of session code.
    if (rare.abort !== undefined) current.run(this, abort, rare.abort, begun);
  }
}

function construct(cell: Cell): SessionServer {
  return new cell.kind.server(new CellContext(cell));
}

function callStart(server: SessionServer): unknown {
  return server.onStart?.();
}

/** Session code may throw anything, a value whose getters throw included. */
function stackOf(error: unknown): string | undefined {
  try {
    return error instanceof Error ? error.stack : undefined;
  } catch {
    return undefined;
  }
}

function abort(controller: AbortController, reason: unknown): void {
  controller.abort(reason);
}
