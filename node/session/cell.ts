// One session's life: what the host holds of it, and the only way into its code. Whatever escapes from session code ends one event of this
// cell, or the cell, and nothing else. Fields that idle sessions do not need are undefined, since there are millions of cells.

import type { AsyncResource } from "node:async_hooks";
import { MeshError, messageOf, traceOf, type Fence, type SessionId } from "#proto";
import type { ClientEnd, ConnectReply, SessionCall, SessionReply } from "#mesh";
import { Belongings } from "./belongings.ts";
import { CellContext } from "./cell-context.ts";
import type { CellKind } from "./cell-kind.ts";
import type { CellSocket } from "./cell-socket.ts";
import { ConnectTurn } from "./connect-turn.ts";
import { isThenable, outside, passingScopeOf, scopeOf } from "./current.ts";
import type { Expiring } from "./deadline-sweep.ts";
import type { StopReason } from "./end-reason.ts";
import { crashed, evicted, killed, notRun, stopped, type Ending } from "./ending.ts";
import type { ErrorOrigin, EventHook } from "./error-origin.ts";
import { ErrorRow } from "./error-row.ts";
import { failureText } from "./failure-text.ts";
import { FetchTurn } from "./fetch-turn.ts";
import { EVENTS_WAITING_MAX, Gate, type WaitingEvent } from "./gate.ts";
import type { IdleNode } from "./idle-list.ts";
import { OrderlyStop } from "./orderly-stop.ts";
import { requestFaultOf } from "./request-fault.ts";
import type { SessionServer } from "./server.ts";
import type { SessionTimer } from "./session-timer.ts";
import { turns } from "./turns.ts";

/** Turns of one session under way at once. Too small: refuses a crowd of long polls; too large: a stuck session holds much memory. */
const TURNS_MAX = 10_000;
/** `waitUntil` promises and response bodies of one session under way at once, for the same reasons. */
const WAITS_MAX = 10_000;
/** How long `onStart` or `blockConcurrencyWhile` may hold all events. Without it, a promise that never settles makes a name unusable. */
const BLOCK_LIMIT_MS = 30_000;

type Stage =
  /** No server object yet: the lease was closed. */
  | "created"
  /** The constructor has run, `onStart` has not. */
  | "constructed"
  | "starting"
  | "running"
  | "ended";

/** What only few sessions have. */
interface Rarities {
  errors?: ErrorRow;
  abort?: AbortController;
  stop?: OrderlyStop;
  ending?: Ending;
}

export class Cell extends Gate implements IdleNode<Cell> {
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
  /** Entries into session code that have not settled. The start counts as one. */
  turns = 1;
  /** `waitUntil` promises and response bodies under way. */
  waits = 0;
  #stage: Stage = "created";
  #scope: AsyncResource | undefined = undefined;
  #belongings: Belongings | undefined = undefined;
  #rare: Rarities | undefined = undefined;

  constructor(kind: CellKind, id: SessionId, fence: Fence) {
    super();
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
    if (this.stopping) return "stopping";
    return this.#stage === "running" ? "running" : "starting";
  }

  // ---- events from outside ----

  fetch(call: SessionCall): SessionReply | Promise<SessionReply> {
    this.kind.host.events++;
    const turn = new FetchTurn(this, call);
    if (this.#rare !== undefined) this.#admit(this.#rare);
    if (!this.open) return this.#later(turn);
    if (this.turns >= TURNS_MAX) throw this.#overloaded(`${TURNS_MAX} events of ${this.id.key} are under way already`);
    if (this.waits >= WAITS_MAX) throw this.#tooManyWaits();
    return turn.start();
  }

  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply> {
    const refuse = (error: unknown): ConnectReply => ({ status: "refused", error: MeshError.from(error) });
    try {
      const turn = new ConnectTurn(this, call, client);
      if (this.#rare !== undefined) this.#admit(this.#rare);
      const reply = this.open ? turn.start() : this.#later(turn);
      return reply instanceof Promise ? reply.catch(refuse) : reply;
    } catch (error) {
      return refuse(error);
    }
  }

  /**
   * Something that happened on a socket. Never refused: what waits is bounded by the window of its socket, which is held open by the
   * promise until the turn is over.
   */
  event(
    code: (server: SessionServer) => unknown,
    socket: CellSocket | undefined,
    hook: EventHook,
  ): void | Promise<void> {
    this.kind.host.events++;
    if (this.ended) return;
    if (this.open) return this.turn(code, socket, hook);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.enqueue({ run: () => resolve(this.turn(code, socket, hook)), refuse: () => resolve() });
    return promise;
  }

  /**
   * A timer of the session is due. It must not wait for a hold that may be waiting for it, so only timers set before the hold do. Each
   * timer waits at most once, which bounds them.
   */
  timerDue(timer: SessionTimer, code: () => unknown): void {
    if (this.ended || timer.queued) return;
    this.kind.host.events++;
    if (this.openFor(timer.section)) {
      void this.turn(code);
      return;
    }
    timer.queued = true;
    this.enqueue({
      run: () => {
        timer.queued = false;
        if (this.#belongings?.timers.has(timer) === true) void this.turn(code);
      },
      refuse: () => {},
    });
  }

  #later<Reply>(turn: { wait(): Promise<Reply> } & WaitingEvent): Promise<Reply> {
    if (this.ended) throw this.error();
    if (this.full) {
      throw this.#overloaded(`${EVENTS_WAITING_MAX} events are waiting for ${this.id.key} already`);
    }
    this.enqueue(turn);
    return turn.wait();
  }

  #tooManyWaits(): MeshError {
    return this.#overloaded(
      `${WAITS_MAX} response bodies and waitUntil promises of ${this.id.key} are under way already`,
    );
  }

  #overloaded(message: string, retryAfterMs = 1_000): MeshError {
    return new MeshError("overloaded", message, { session: this.id.key, retryAfterMs });
  }

  /** Throws `overloaded` while the session pauses because it did nothing but fail. */
  #admit({ errors }: Rarities): void {
    const waitMs = errors === undefined || this.ended ? 0 : errors.waitMs(this.kind.host.clock.now());
    if (waitMs > 0) throw this.#overloaded(`${this.id.key} has failed too often; it takes requests again soon`, waitMs);
  }

  // ---- life ----

  /** Creates the server object, as soon as the lease lets session code run. Never throws. */
  begin(): void {
    if (!this.mayAct()) return;
    this.#stage = "constructed";
    try {
      this.server = this.enter(construct, this);
    } catch (error) {
      this.crash(error);
      return;
    }
    // Ended from within its own constructor.
    if (this.ended) this.server = undefined;
    this.#startIfUnblocked();
  }

  /** The lease is open again, or the turn is this session's. */
  resume(): void {
    if (this.ended) return;
    if (this.#stage === "created") this.begin();
    this.pump();
    this.#rare?.stop?.further();
  }

  #startIfUnblocked(): void {
    const { server } = this;
    // A stop that began in the constructor holds too; it still lets the start end, without running it.
    if (this.#stage !== "constructed" || server === undefined || this.holds !== (this.stopping ? 2 : 1)) return;
    this.#stage = "starting";
    let result: unknown;
    try {
      if (!this.stopping) result = this.enter(callStart, server);
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
      this.turns === 0 &&
      this.waits === 0 &&
      !this.waiting &&
      (this.#belongings === undefined || this.#belongings.sockets.size === 0)
    );
  }

  /** A timer that would keep a Node process alive keeps its session alive. */
  get keptByTimer(): boolean {
    for (const timer of this.#belongings?.timers ?? []) if (timer.hasRef()) return true;
    return false;
  }

  // ---- turns and holds ----

  /** Calls session code, or what must run as it. Whoever calls has made sure that it may run now. */
  enter<Arguments extends unknown[], Result>(
    fn: (...parameters: Arguments) => Result,
    ...parameters: Arguments
  ): Result {
    return (this.#scope ?? this.#newScope()).runInAsyncScope(fn, undefined, ...parameters);
  }

  #newScope(): AsyncResource {
    // Of the moment in which it was created: it may never be entered again.
    if (this.createdAt === this.kind.host.nowMs) return passingScopeOf(this);
    return (this.#scope = scopeOf(this));
  }

  beginTurn(): void {
    this.turns++;
    if (this.kind.options.serial) this.hold();
  }

  /** The code of a turn has settled. */
  leaveTurn(): void {
    if (this.kind.options.serial) this.release();
  }

  /** The turn counts no longer: it has settled, or nobody waits for it any more. */
  endTurn(): void {
    this.turns--;
    this.#calmed();
  }

  beginWait(): void {
    this.waits++;
  }

  endWait(): void {
    this.waits--;
    this.#calmed();
  }

  #calmed(): void {
    if (this.ended) return;
    if (this.stopping) outside(() => this.#rare?.stop?.further());
    else this.touch();
  }

  protected override leaseOpen(): boolean {
    return this.kind.host.lease.isOpen() && turns.take(this);
  }

  protected override awaitLease(): void {
    this.kind.host.hold(this);
  }

  protected override eased(): void {
    if (this.ended) return;
    this.#startIfUnblocked();
    if (this.quiet) this.touch();
  }

  /** False: the node may not act now, or the turn is another session's; `resume` follows when it may. */
  mayAct(): boolean {
    if (this.leaseOpen()) return true;
    this.awaitLease();
    return false;
  }

  touch(): void {
    const { host, idle } = this.kind;
    // Its place among those of the same moment is good enough, and moving it costs the memory of its neighbours.
    if (this.activeAt === host.nowMs && idle.has(this)) return;
    this.activeAt = host.nowMs;
    if (this.quiet) idle.touch(this);
  }

  /**
   * Never throws or rejects. A promise while the code goes on.
   * @param hook whose error belongs to one event; without it, an error is the session's
   */
  turn(code: (server: SessionServer) => unknown, socket?: CellSocket, hook?: EventHook): void | Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.beginTurn();
    let result: unknown;
    try {
      result = this.enter(code, server);
    } catch (error) {
      this.#failTurn(error, socket, hook);
      return;
    }
    if (!isThenable(result)) {
      this.#settleTurn(hook);
      return;
    }
    return Promise.resolve(result).then(
      () => this.#settleTurn(hook),
      (error: unknown) => this.#failTurn(error, socket, hook),
    );
  }

  #failTurn(error: unknown, socket: CellSocket | undefined, hook: EventHook | undefined): void {
    // First, or a serial session would let in the next event before it ends.
    if (hook === undefined) this.fault(error);
    else this.eventFault(error, { hook, method: "GET", url: socket?.url ?? "" }, socket);
    this.#settleTurn("onError");
  }

  #settleTurn(hook: EventHook | undefined): void {
    // Whoever fails at each message may well see all sockets close.
    if (hook === "onMessage") this.succeeded();
    this.leaveTurn();
    this.endTurn();
  }

  /** An event went well. */
  succeeded(): void {
    this.#rare?.errors?.succeeded();
  }

  /** Rejects when the promise is not settled in time. */
  #limited<Value>(work: PromiseLike<Value>, what: string): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const limit: Expiring = {
      dueTick: 0,
      place: -1,
      expire: () => {
        // Held back by its node, not slow.
        if (!this.kind.host.lease.isOpen()) this.kind.host.deadlines.add(limit, BLOCK_LIMIT_MS);
        else reject(new MeshError("timeout", `${what} of ${this.id.key} did not settle within ${BLOCK_LIMIT_MS} ms`));
      },
    };
    this.kind.host.deadlines.add(limit, BLOCK_LIMIT_MS);
    const settled = (): void => this.kind.host.deadlines.remove(limit);
    Promise.resolve(work).then(resolve, reject).finally(settled);
    return promise;
  }

  // ---- what session code may ask through its context ----

  async blockConcurrencyWhile<Result>(fn: () => Promise<Result>): Promise<Result> {
    if (this.waits >= WAITS_MAX) throw this.#tooManyWaits();
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

  /** Throws `overloaded` into the code that waits for one too many. */
  waitUntil(promise: PromiseLike<unknown>): void {
    if (this.ended) return;
    if (this.waits >= WAITS_MAX) throw this.#tooManyWaits();
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

  get belongings(): Belongings {
    return (this.#belongings ??= new Belongings());
  }

  // ---- the end ----

  /** Ends in order: requests under way, `onStop`, bodies and `waitUntil`. What takes longer than the limit is cut off. */
  stop(reason: StopReason, limitMs: number): Promise<void> {
    if (this.ended) return Promise.resolve();
    if (this.#rare?.stop !== undefined) return this.#rare.stop.done;
    const stop = new OrderlyStop(this, reason, limitMs);
    this.#rare = { ...this.#rare, stop };
    this.close();
    if (this.#stage === "created") this.finishStop(reason);
    else stop.further();
    return stop.done;
  }

  finishStop(why: StopReason): void {
    this.#finish(stopped(this.id, why));
  }

  /** An error escaped from session code. Nothing of it but the session ends. */
  crash(error: unknown): void {
    if (this.ended) return;
    const { log } = this.kind.host;
    outside(() =>
      log.error("session crashed", { session: this.id.key, error: messageOf(error), stack: traceOf(error) }),
    );
    this.#finish(crashed(this.id, error, this.kind.host.clientErrors));
  }

  /**
   * An error that escaped from the code for one event: its client's, the event's alone, or a crash, as the class says. Returns what the
   * client gets.
   */
  eventFault(
    error: unknown,
    origin: { readonly hook: EventHook; readonly method: string; readonly url: string },
    socket?: CellSocket,
  ): MeshError {
    const clientFault = requestFaultOf(error);
    if (clientFault === undefined && (this.ended || this.kind.options.crashes)) {
      this.crash(error);
      return this.error();
    }
    const { hook } = origin;
    const why = clientFault ?? this.#failure(error, hook);
    if (clientFault === undefined) this.#logFailure(error, origin);
    socket?.failed(hook, why);
    if (clientFault === undefined && hook !== "onError") this.#tellError(error, { ...origin, hook }, socket);
    return why;
  }

  #failure(error: unknown, hook: EventHook): MeshError {
    const text = failureText(
      error,
      `${hook}() of the session failed; the log of its node says why`,
      this.kind.host.clientErrors,
    );
    return new MeshError("handler_failed", text, { session: this.id.key, cause: error });
  }

  #logFailure(
    error: unknown,
    { hook, method, url }: { readonly hook: EventHook; readonly method: string; readonly url: string },
  ): void {
    const { log, clock } = this.kind.host;
    this.#rare ??= {};
    this.#rare.errors ??= new ErrorRow();
    const row = this.#rare.errors;
    if (!row.failed(clock.now())) return;
    const untold = row.takeUntold();
    // What clients send in queries is not for logs.
    const path = url.split("?", 1)[0];
    outside(() =>
      log.error("handler failed", {
        session: this.id.key,
        hook,
        method,
        url: path,
        ...(untold > 0 && { untold }),
        error: messageOf(error),
        stack: traceOf(error),
      }),
    );
  }

  #tellError(error: unknown, origin: ErrorOrigin, socket: CellSocket | undefined): void {
    if (this.server?.onError === undefined) return;
    const tell = (server: SessionServer): unknown => server.onError?.(socket, error, origin);
    // The turn that failed still holds a serial session, and what it left half done may be mended before the next.
    if (this.kind.options.serial && this.leaseOpen()) void this.turn(tell, socket, "onError");
    else void this.event(tell, socket, "onError");
  }

  /** An error of session code that belongs to no event: a crash, unless it is a client's. Returns what the caller gets. */
  fault(error: unknown): MeshError {
    const requestFault = requestFaultOf(error);
    if (requestFault !== undefined) return requestFault;
    this.crash(error);
    return this.error();
  }

  /** Somebody ended the session's turn by force. */
  kill(error: MeshError): void {
    this.#finish(killed(error));
  }

  /** The node may not act for this session any more: nothing of it runs, not even `onStop`. */
  drop(closeCode: number): void {
    this.#finish(evicted(this.id, closeCode));
  }

  /** Why requests to an ended session fail. */
  error(): MeshError {
    return this.#rare?.ending?.waiting ?? notRun(this.id);
  }

  #finish(ending: Ending): void {
    if (this.ended) return;
    this.#stage = "ended";
    this.close();
    const rare = (this.#rare ??= {});
    rare.ending = ending;
    this.kind.idle.remove(this);
    const untold = rare.errors?.takeUntold() ?? 0;
    if (untold > 0)
      outside(() =>
        this.kind.host.log.error("handlers failed more often than was told", { session: this.id.key, untold }),
      );
    // These are unfinished too, but nothing of them has run.
    for (const event of this.takeWaiting()) event.refuse(ending.waiting);
    this.#belongings?.end(ending.closeCode, ending.closeText, ending.begun);
    this.server = undefined;
    outside(() => this.kind.host.cellEnded(this, ending.reason, ending.error));
    rare.stop?.ended();
    // Last, since it runs listeners of session code.
    const controller = rare.abort;
    if (controller !== undefined) turns.soon(() => this.enter(abort, controller, ending.begun));
  }
}

function construct(cell: Cell): SessionServer {
  return new cell.kind.server(new CellContext(cell));
}

function callStart(server: SessionServer): unknown {
  return server.onStart?.();
}

function abort(controller: AbortController, reason: unknown): void {
  controller.abort(reason);
}
