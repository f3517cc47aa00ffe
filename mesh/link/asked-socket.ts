// A client's socket whose session is on another worker, on the side of the gateway: it is the SessionEnd that the gateway holds.

import { MeshError, parseWorkerId, type Frame, type HeadFrame } from "#proto";
import type { SessionCall } from "../call.ts";
import type { ClientEnd, ConnectAnswer, SessionEnd } from "../socket.ts";
import { HEAD_GRACE_MS } from "./asked-call.ts";
import type { AskerLink, AwaitingHead } from "./asker.ts";
import { NO_BYTES, errorOf, misplaced, openFrame, ownBody, ownBytes, resetFrame, type Exchange } from "./exchange.ts";
import { MessageSender, messageCost } from "./message-sender.ts";
import type { CallOptions, CallOutcome } from "./port.ts";
import { ReceiveWindow } from "./window.ts";

/** WebSocket close codes: 1011 the server failed, 1012 it restarts (clients reconnect), 1013 try again later. */
const CLOSE_FAILED = 1011;
const CLOSE_RESTART = 1012;
const CLOSE_OVERLOADED = 1013;

/** How long a close waits for the messages before it: a session that hangs must not keep the exchange for ever. */
const CLOSE_FLUSH_MS = 10_000;

export class AskedSocket implements Exchange, AwaitingHead, SessionEnd {
  place = -1;
  readonly #link: AskerLink;
  readonly #stream: number;
  readonly #call: SessionCall;
  readonly #client: ClientEnd;
  readonly #resolve: (outcome: CallOutcome<ConnectAnswer>) => void;
  readonly #headByMs: number;
  readonly #sender: MessageSender;
  readonly #window = new ReceiveWindow();
  // Resolves when the session has caught up enough to take more.
  #busy: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;
  #closing: NodeJS.Timeout | undefined;
  #headed = false;
  // The gateway reported the end of the client: only the messages before it and its close are still to be sent.
  #gone = false;
  #accepted = false;
  #over = false;

  constructor(
    link: AskerLink,
    stream: number,
    call: SessionCall,
    client: ClientEnd,
    resolve: (outcome: CallOutcome<ConnectAnswer>) => void,
  ) {
    this.#link = link;
    this.#stream = stream;
    this.#call = call;
    this.#client = client;
    this.#resolve = resolve;
    this.#headByMs = performance.now() + call.timeoutMs + HEAD_GRACE_MS;
    this.#sender = new MessageSender(link, stream, false);
  }

  start(options: CallOptions): void {
    this.#link.write(openFrame(this.#stream, this.#call, options, NO_BYTES, { streamed: false, upgrade: true }));
    this.#link.awaitHead(this);
    this.#call.onCancel((reason) => this.#abort(reason));
  }

  receive(frame: Frame): void {
    if (this.#over) return;
    switch (frame.type) {
      case "head":
        if (this.#headed || frame.head.streamed) throw misplaced(frame);
        if (frame.head.status !== 101) return this.#answered(frame.head);
        this.#accepted = true;
        this.#call.onCancel(undefined);
        return this.#settle({ status: "reply", reply: { status: "accepted", end: this } });
      case "moved": {
        if (this.#headed) throw misplaced(frame);
        const worker = frame.moved.worker === "" ? undefined : parseWorkerId(frame.moved.worker);
        this.#settle({ status: "moved", worker, epoch: frame.moved.epoch });
        return this.#finish();
      }
      case "reset":
        return this.#lost(errorOf(frame.reset, this.#call.id.key), CLOSE_FAILED);
      case "message":
        if (!this.#accepted) throw misplaced(frame);
        return this.#message(frame.message.bytes, frame.message.binary);
      case "credit":
        if (!this.#accepted) throw misplaced(frame);
        this.#sender.credited(frame.credit.bytes);
        if (this.#sender.finished) this.#finish();
        else if (this.#sender.open) this.#caughtUp();
        return;
      case "close":
        if (!this.#accepted) throw misplaced(frame);
        // The exchange goes on until the gateway says that the client is gone.
        if (this.#gone) return;
        return this.#client.close(frame.close.code, frame.close.reason);
      default:
        throw misplaced(frame);
    }
  }

  broken(reason: MeshError, unopened: boolean): void {
    if (unopened && !this.#over) this.#settle({ status: "unreached", error: reason });
    this.#lost(reason, CLOSE_RESTART);
  }

  sweep(nowMs: number): void {
    if (nowMs > this.#headByMs)
      this.#abort(
        new MeshError("timeout", "the session's host did not answer in time", { session: this.#call.id.key }),
      );
  }

  message(data: string | Uint8Array): void | Promise<void> {
    if (this.#over || this.#gone) return;
    const binary = typeof data !== "string";
    if (!this.#sender.offer(binary ? data : Buffer.from(data), binary)) {
      return this.#abort(new MeshError("overloaded", "the session does not keep up with its client"), CLOSE_OVERLOADED);
    }
    if (this.#sender.open) return;
    this.#busy ??= Promise.withResolvers<void>();
    return this.#busy.promise;
  }

  drained(): void {
    if (this.#over || this.#gone) return;
    this.#credit(this.#window.consumed(this.#window.unconsumed));
    this.settle();
  }

  closed(code: number, reason: string, clean: boolean): void {
    if (this.#over || this.#gone) return;
    this.#gone = true;
    // Behind the messages that wait: the session gets all that its client sent, unless it takes too long over it.
    this.#sender.finish({ stream: this.#stream, type: "close", close: { code, reason, clean } });
    if (this.#sender.finished) this.#finish();
    else this.#closing = setTimeout(() => this.#giveUp(), CLOSE_FLUSH_MS).unref();
  }

  /** Sends the credit that is owed, however little. */
  settle(): void {
    if (!this.#over) this.#credit(this.#window.settle());
  }

  #message(bytes: Uint8Array, binary: boolean): void {
    this.#window.received(messageCost(bytes));
    if (this.#gone) return;
    this.#client.send(
      binary ? ownBytes(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"),
    );
    const taken = this.#window.unconsumed - this.#client.buffered;
    if (taken <= 0) return;
    const credit = this.#window.consumed(taken);
    if (credit > 0) this.#credit(credit);
    else this.#link.owes(this);
  }

  #credit(bytes: number): void {
    if (bytes > 0) this.#link.write({ stream: this.#stream, type: "credit", credit: { bytes } });
  }

  #abort(error: MeshError, code = CLOSE_FAILED): void {
    if (this.#over) return;
    this.#link.write(resetFrame(this.#stream, error));
    this.#lost(error, code);
  }

  #lost(error: MeshError, code: number): void {
    if (this.#over) return;
    const accepted = this.#accepted;
    this.#settle({ status: "failed", error });
    this.#finish();
    if (accepted && !this.#gone) this.#client.close(code, error.message);
  }

  /** The session has an answer of its own, and takes no socket. */
  #answered(head: HeadFrame): void {
    const { status, statusText, headers } = head;
    const reply = { status, statusText, headers, body: ownBody(head.body) };
    this.#settle({ status: "reply", reply: { status: "answered", reply } });
    this.#finish();
  }

  #settle(outcome: CallOutcome<ConnectAnswer>): void {
    if (this.#headed) return;
    this.#headed = true;
    this.#link.headed(this);
    this.#resolve(outcome);
  }

  #giveUp(): void {
    this.#sender.drop();
    this.#finish();
  }

  #caughtUp(): void {
    this.#busy?.resolve();
    this.#busy = undefined;
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#closing);
    this.#call.onCancel(undefined);
    this.#link.finished(this.#stream);
    this.#caughtUp();
  }
}
