// One request on its way through a session. It may wait for the gate, runs as one turn, and answers once: with the reply, at
// its time limit, when its caller goes away, or with the session's end. A handler that answers at once costs no promise.

import { MeshError } from "#proto";
import type { SessionCall } from "#mesh";
import type { Unfinished } from "./belongings.ts";
import type { Cell } from "./cell.ts";
import { isThenable } from "./current.ts";
import type { Expiring } from "./deadline-sweep.ts";
import { abortReasonOf } from "./request-fault.ts";
import type { WaitingEvent } from "./gate.ts";
import type { SessionServer } from "./server.ts";
import { turns } from "./turns.ts";

export abstract class RequestTurn<Reply extends object> implements WaitingEvent, Expiring, Unfinished {
  readonly cell: Cell;
  readonly call: SessionCall;
  dueTick = 0;
  place = -1;
  unfinishedPrev: Unfinished | undefined = undefined;
  unfinishedNext: Unfinished | undefined = undefined;
  #answer: PromiseWithResolvers<Reply> | undefined = undefined;
  #answered = false;
  /** Counts among the turns of its cell. */
  #counted = false;
  #abort: AbortController | undefined = undefined;
  #abortedWith: MeshError | undefined = undefined;

  constructor(cell: Cell, call: SessionCall) {
    this.cell = cell;
    this.call = call;
  }

  /** Why the class cannot take the request; session code is not entered then. */
  protected abstract refusal(server: SessionServer): MeshError | undefined;
  /** Calls session code; runs in its context. */
  abstract enter(server: SessionServer): Reply | PromiseLike<unknown>;
  /** What session code gave back in the end, as a reply; runs in its context. */
  protected abstract convert(value: unknown): Reply;
  /** What session code threw, as a reply, when it is an answer in truth; runs in its context. */
  protected abstract answerIn(thrown: unknown): Reply | undefined;
  /** Returns what the caller gets for an error that escaped from session code. */
  protected abstract blame(error: unknown): MeshError;
  /** The reply goes out now: the session lives and its node may act. */
  protected abstract send(reply: Reply): Reply;
  /** It was answered with an error after session code had been entered, or while it waited. */
  protected abstract rejected(): void;
  /** Session code gave something back after the answer. */
  protected abstract discard(value: unknown): void;

  /** The gate is open. Throws MeshError. */
  start(): Reply | Promise<Reply> {
    const { cell } = this;
    const { server } = cell;
    const refusal = server === undefined ? cell.error() : this.refusal(server);
    if (server === undefined || refusal !== undefined) throw refusal ?? cell.error();
    this.#counted = true;
    cell.beginTurn();
    let result: Reply | PromiseLike<unknown>;
    try {
      result = cell.enter(enterTurn, this, server);
    } catch (thrown) {
      result = this.#answerOf(thrown);
    }
    if (isThenable(result)) {
      if (cell.ended) {
        // Ended from within, before anybody waited for this turn: what its code still comes to is not sent.
        this.#answered = true;
        this.#watch(result);
        throw cell.error();
      }
      const answer = this.wait();
      this.#watch(result);
      return answer;
    }
    cell.succeeded();
    cell.leaveTurn();
    if (cell.ended) throw cell.error();
    if (this.#answer === undefined) return this.#deliver(result);
    this.#deliverSoon(result, result);
    return this.#answer.promise;
  }

  /** The answer as a promise, with a time limit and an ear for the caller: for turns that wait or do not answer at once. */
  wait(): Promise<Reply> {
    if (this.#answer !== undefined) return this.#answer.promise;
    this.#answer = Promise.withResolvers<Reply>();
    const { cell, call } = this;
    cell.belongings.addUnfinished(this);
    cell.kind.host.deadlines.add(this, Math.min(call.timeoutMs, cell.kind.options.requestTimeoutMs));
    call.onCancel((reason) => this.#reject(reason));
    return this.#answer.promise;
  }

  /** The gate has opened for a turn that waited. */
  run(): void {
    // Its caller has given up: nothing to do for it.
    if (this.#answered) return;
    try {
      void this.start();
    } catch (error) {
      this.#reject(MeshError.from(error));
    }
  }

  refuse(error: MeshError): void {
    this.#reject(error);
  }

  fail(error: MeshError): void {
    this.#reject(error);
  }

  expire(): void {
    const { cell } = this;
    this.#reject(new MeshError("timeout", `${cell.id.key} did not answer in time`, { session: cell.id.key }));
    // The handler may never settle; it must not keep the session from idling.
    this.#uncount();
  }

  /** `request.signal`, made when session code first looks at it. */
  readonly signal = (): AbortSignal => {
    this.#abort ??= new AbortController();
    if (this.#abortedWith !== undefined) this.#abort.abort(abortReasonOf(this.#abortedWith));
    return this.#abort.signal;
  };

  protected abort(error: MeshError): void {
    this.#abortedWith ??= error;
    const controller = this.#abort;
    if (controller === undefined) return;
    turns.soon(() => this.cell.enter(() => controller.abort(abortReasonOf(error))));
  }

  #watch(result: PromiseLike<unknown>): void {
    const { cell } = this;
    Promise.resolve(result).then(
      (value) => {
        if (this.#answered) {
          cell.leaveTurn();
          this.#uncount();
          cell.enter(() => this.discard(value));
          return;
        }
        let reply: Reply;
        try {
          reply = cell.enter(() => this.convert(value));
        } catch (error) {
          this.#reject(this.#failed(error));
          return;
        }
        this.#settled(reply, value);
      },
      (thrown: unknown) => {
        let reply: Reply;
        try {
          reply = this.#answerOf(thrown);
        } catch (error) {
          this.#reject(MeshError.from(error));
          return;
        }
        this.#settled(reply, thrown);
      },
    );
  }

  #settled(reply: Reply, value: unknown): void {
    const { cell } = this;
    cell.succeeded();
    cell.leaveTurn();
    this.#deliverSoon(reply, value);
  }

  /** Throws what the caller gets when it is none. */
  #answerOf(thrown: unknown): Reply {
    let reply: Reply | undefined;
    try {
      reply = this.cell.enter(() => this.answerIn(thrown));
    } catch (error) {
      throw this.#failed(error);
    }
    if (reply === undefined) throw this.#failed(thrown);
    return reply;
  }

  #failed(error: unknown): MeshError {
    const { cell } = this;
    // First, or a serial session would let in the next event before it ends.
    const blamed = this.blame(error);
    cell.leaveTurn();
    this.#uncount();
    return blamed;
  }

  /** Whatever else the session does in this turn, the answer is out of its reach. */
  #deliverSoon(reply: Reply, value: unknown): void {
    turns.behind(() => {
      if (!this.#answered) {
        void this.#deliver(reply);
        return;
      }
      this.#uncount();
      this.cell.enter(() => this.discard(value));
    });
  }

  #deliver(reply: Reply): Reply | Promise<Reply> {
    const { lease } = this.cell.kind.host;
    if (!lease.isOpen()) {
      const answer = this.wait();
      void lease.whenOpen().then(() => this.#deliver(reply));
      return answer;
    }
    if (this.#answer === undefined) {
      const sent = this.send(reply);
      this.#uncount();
      return sent;
    }
    // Settled first: sending may listen to the caller in another way.
    if (this.#settle()) this.#answer.resolve(this.send(reply));
    this.#uncount();
    return this.#answer.promise;
  }

  #reject(error: MeshError): void {
    if (!this.#settle()) return;
    const answer = this.#answer;
    if (answer !== undefined) turns.behind(() => answer.reject(error));
    this.abort(error);
    this.rejected();
  }

  #settle(): boolean {
    if (this.#answered) return false;
    this.#answered = true;
    // While the handler goes on for nobody, the limit stays: it is what lets the session idle again.
    if (!this.#counted) this.cell.kind.host.deadlines.remove(this);
    this.cell.belongings.removeUnfinished(this);
    this.call.onCancel(undefined);
    return true;
  }

  #uncount(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.cell.kind.host.deadlines.remove(this);
    this.cell.endTurn();
  }
}

// Not a closure: it runs for every request.
function enterTurn<Reply extends object>(
  turn: RequestTurn<Reply>,
  server: SessionServer,
): Reply | PromiseLike<unknown> {
  return turn.enter(server);
}
