// The answering side of a link that is up: gives each exchange that the peer opens to the service, and sends back what comes of it.
// Knows frames and exchanges, no transport.

import { MeshError, type AnswerFrame, type AskFrame, type Frame, type WorkerId } from "#proto";
import { EXCHANGES_MAX, misplaced, resetFrame, type Exchange, type ExchangeLink } from "./exchange.ts";
import { ExchangeTable } from "./exchange-table.ts";
import type { Apart, LinkService } from "./port.ts";
import { ServedCall } from "./served-call.ts";
import { ServedSocket } from "./served-socket.ts";

/** Sessions in one frame of an answer: some 50 KiB. */
const ANSWER_SESSIONS_MAX = 1_000;

export interface AnswererWriter {
  write(frame: Frame): void;
  ready(): Promise<void> | undefined;
}

export class Answerer {
  readonly #from: WorkerId;
  readonly #service: LinkService;
  readonly #apart: Apart;
  readonly #link: ExchangeLink;
  readonly #exchanges = new ExchangeTable<Exchange>();
  #questions = 0;

  constructor(from: WorkerId, service: LinkService, writer: AnswererWriter, apart: Apart) {
    this.#from = from;
    this.#service = service;
    this.#apart = apart;
    this.#link = {
      write: (frame) => writer.write(frame),
      ready: () => writer.ready(),
      finished: (stream) => {
        this.#exchanges.delete(stream);
      },
    };
  }

  /** Throws `bad_frame`. */
  receive(frame: Frame): void {
    switch (frame.type) {
      case "open":
        return this.#open(frame);
      case "ask":
        void this.#answer(frame.stream, frame.ask);
        return;
      case "data":
      case "message":
      case "credit":
      case "close":
      case "reset":
        // Frames of a finished exchange may still be under way when we end it, so an unknown number is no fault.
        return this.#exchanges.get(frame.stream)?.receive(frame);
      case "view":
        return;
      default:
        throw misplaced(frame);
    }
  }

  broken(reason: MeshError): void {
    for (const [, exchange] of this.#exchanges.drain()) exchange.broken(reason, false);
  }

  #open(frame: Extract<Frame, { type: "open" }>): void {
    const { stream, open } = frame;
    if (stream === 0 || this.#exchanges.get(stream) !== undefined) throw misplaced(frame);
    if (this.#exchanges.size >= EXCHANGES_MAX) return this.#link.write(resetFrame(stream, overloaded()));
    try {
      if (open.upgrade) {
        const socket = new ServedSocket(this.#link, stream, open);
        this.#exchanges.set(stream, socket);
        socket.start(this.#service, this.#from);
      } else {
        const call = new ServedCall(this.#link, stream, open, this.#service, this.#from);
        this.#exchanges.set(stream, call);
        this.#apart(call);
      }
    } catch (thrown) {
      this.#exchanges.delete(stream);
      this.#link.write(resetFrame(stream, MeshError.from(thrown)));
    }
  }

  async #answer(stream: number, question: AskFrame): Promise<void> {
    if (this.#questions >= EXCHANGES_MAX) return this.#link.write(resetFrame(stream, overloaded()));
    let answer: AnswerFrame;
    this.#questions += 1;
    try {
      answer = await this.#service.ask(this.#from, question);
    } catch (thrown) {
      return this.#link.write(resetFrame(stream, MeshError.from(thrown)));
    } finally {
      this.#questions -= 1;
    }
    const { ok, sessions, relayed } = answer;
    for (let at = 0; at < sessions.length || at === 0; at += ANSWER_SESSIONS_MAX) {
      const congested = this.#link.ready();
      if (congested !== undefined) await congested;
      const more = at + ANSWER_SESSIONS_MAX < sessions.length;
      this.#link.write({
        stream,
        type: "answer",
        answer: { ok, sessions: sessions.slice(at, at + ANSWER_SESSIONS_MAX), more, ...(relayed && { relayed }) },
      });
    }
  }
}

function overloaded(): MeshError {
  return new MeshError("overloaded", "the worker has too many exchanges under way");
}
