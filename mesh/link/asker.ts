// The asking side of a link that is up: numbers the exchanges, hands each frame that comes back to its exchange, and ends them all when the
// link breaks. Knows frames and exchanges, no transport.

import { MeshError, type AnswerFrame, type AskFrame, type Frame } from "#proto";
import type { SessionCall, SessionReply } from "../call.ts";
import type { ClientEnd, ConnectAnswer } from "../socket.ts";
import { AskedCall } from "./asked-call.ts";
import { askedQuestion } from "./asked-question.ts";
import { AskedSocket } from "./asked-socket.ts";
import { Roster, type Rostered } from "../roster.ts";
import { EXCHANGES_MAX, type Exchange, type ExchangeLink } from "./exchange.ts";
import { ExchangeTable } from "./exchange-table.ts";
import type { CallOptions, CallOutcome } from "./port.ts";

/** Stream numbers are uint32 on the wire. */
const STREAM_MAX = 0xffff_ffff;
/** How long a little credit may wait for more to go with it. Longer delays `drained` of idle sockets, shorter costs frames. */
const CREDIT_DELAY_MS = 20;

export interface AskerWriter {
  write(frame: Frame): void;
  ready(): Promise<void> | undefined;
  readonly overloaded: boolean;
}

/** An exchange that is given up when its head is late. */
export interface AwaitingHead extends Rostered {
  sweep(nowMs: number): void;
}

export interface AskerLink extends ExchangeLink {
  /** Until `headed`, the exchange is swept. */
  awaitHead(exchange: AwaitingHead): void;
  headed(exchange: AwaitingHead): void;
  /** The socket owes credit too small to send now: `settle` it soon. */
  owes(socket: { settle(): void }): void;
}

export class Asker {
  readonly #writer: AskerWriter;
  readonly #exchanges = new ExchangeTable<Exchange>();
  readonly #awaiting = new Roster<AwaitingHead>();
  readonly #owing = new Set<{ settle(): void }>();
  readonly #link: AskerLink;
  #creditTimer: NodeJS.Timeout | undefined;
  #stream = 0;
  #end: MeshError | undefined;

  constructor(writer: AskerWriter) {
    this.#writer = writer;
    this.#link = {
      write: (frame) => writer.write(frame),
      ready: () => writer.ready(),
      finished: (stream) => {
        this.#exchanges.delete(stream);
      },
      awaitHead: (exchange) => {
        this.#awaiting.add(exchange);
      },
      headed: (exchange) => {
        this.#awaiting.delete(exchange);
      },
      owes: (socket) => this.#owes(socket),
    };
  }

  /** Nothing is under way. */
  get idle(): boolean {
    return this.#exchanges.size === 0;
  }

  call(call: SessionCall, options: CallOptions): Promise<CallOutcome<SessionReply>> {
    const refusal = this.#refusal(call);
    if (refusal !== undefined) return Promise.resolve(refusal);
    return new Promise((resolve) => {
      const stream = this.#nextStream();
      const exchange = new AskedCall(this.#link, stream, call, resolve);
      this.#exchanges.set(stream, exchange);
      exchange.start(options);
    });
  }

  connect(call: SessionCall, client: ClientEnd, options: CallOptions): Promise<CallOutcome<ConnectAnswer>> {
    const refusal = this.#refusal(call);
    if (refusal !== undefined) return Promise.resolve(refusal);
    return new Promise((resolve) => {
      const stream = this.#nextStream();
      const exchange = new AskedSocket(this.#link, stream, call, client, resolve);
      this.#exchanges.set(stream, exchange);
      exchange.start(options);
    });
  }

  ask(question: AskFrame, timeoutMs: number): Promise<AnswerFrame> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (this.#full) return Promise.reject(this.#overloaded());
    const stream = this.#nextStream();
    return askedQuestion(this.#link, stream, question, timeoutMs, (exchange) => this.#exchanges.set(stream, exchange));
  }

  /** Throws `bad_frame`. */
  receive(frame: Frame): void {
    // Frames of a finished exchange may still be under way when we end it, so an unknown number is no fault.
    this.#exchanges.get(frame.stream)?.receive(frame);
  }

  /** `unsent`: frames that were never handed to the transport. */
  broken(error: MeshError, unsent: readonly Frame[]): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    clearTimeout(this.#creditTimer);
    this.#owing.clear();
    const unopened = new Set(unsent.filter((frame) => frame.type === "open").map((frame) => frame.stream));
    for (const [stream, exchange] of this.#exchanges.drain()) exchange.broken(error, unopened.has(stream));
  }

  sweep(nowMs: number): void {
    for (const exchange of this.#awaiting) exchange.sweep(nowMs);
    this.#settle();
  }

  #refusal(call: SessionCall): CallOutcome<never> | undefined {
    if (this.#end !== undefined) return { status: "unreached", error: this.#end };
    if (call.cancelled !== undefined) return { status: "failed", error: call.cancelled };
    if (this.#full) return { status: "failed", error: this.#overloaded() };
    return undefined;
  }

  get #full(): boolean {
    return this.#writer.overloaded || this.#exchanges.size >= EXCHANGES_MAX;
  }

  #overloaded(): MeshError {
    return new MeshError("overloaded", "the link to the session's worker has too much under way");
  }

  #nextStream(): number {
    do this.#stream = this.#stream === STREAM_MAX ? 1 : this.#stream + 1;
    while (this.#exchanges.get(this.#stream) !== undefined);
    return this.#stream;
  }

  #owes(socket: { settle(): void }): void {
    if (this.#end !== undefined) return;
    this.#owing.add(socket);
    this.#creditTimer ??= setTimeout(() => this.#settle(), CREDIT_DELAY_MS).unref();
  }

  #settle(): void {
    clearTimeout(this.#creditTimer);
    this.#creditTimer = undefined;
    for (const socket of this.#owing) socket.settle();
    this.#owing.clear();
  }
}
