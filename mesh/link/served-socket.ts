// A client's socket whose client is at another worker, on the side of the session's host: it is the ClientEnd that the session holds.

import { MeshError, type Frame, type OpenFrame, type WorkerId } from "#proto";
import type { Body, SessionCall } from "../call.ts";
import type { ClientEnd, ConnectAnswer, SessionEnd } from "../socket.ts";
import { NO_BYTES, errorOf, misplaced, ownBytes, resetFrame, type Exchange, type ExchangeLink } from "./exchange.ts";
import { MessageSender, messageCost } from "./message-sender.ts";
import type { CallOptions, LinkService, Served } from "./port.ts";
import { callOf, movedFrame, optionsOf } from "./served-call.ts";
import { ReceiveWindow } from "./window.ts";

/** A close waits so long for the messages before it; a client that reads nothing must not keep its socket by that. */
const CLOSE_FLUSH_MS = 10_000;
/** WebSocket close codes. 1006: the connection was lost. 1009: a message too big. */
const CLOSE_LOST = 1006;
const CLOSE_TOO_BIG = 1009;

export class ServedSocket implements Exchange, ClientEnd {
  readonly #link: ExchangeLink;
  readonly #stream: number;
  readonly #call: SessionCall;
  readonly #options: CallOptions;
  readonly #sender: MessageSender;
  readonly #window = new ReceiveWindow();
  #end: SessionEnd | undefined;
  #closing: NodeJS.Timeout | undefined;
  // The session closed its side: it sends nothing more.
  #closed = false;
  #over = false;

  /** Throws MeshError when the request is malformed. */
  constructor(link: ExchangeLink, stream: number, open: OpenFrame) {
    this.#link = link;
    this.#stream = stream;
    this.#options = optionsOf(open);
    this.#call = callOf(open, null);
    // Held until Head is out: a session may greet its client before it has accepted it.
    this.#sender = new MessageSender(link, stream, true);
  }

  /** Throws what the service throws at once. */
  start(service: LinkService, from: WorkerId): void {
    const served = service.connect(from, this.#call, this, this.#options);
    if (!(served instanceof Promise)) return this.#served(served);
    served.then(
      (result) => this.#served(result),
      (thrown: unknown) => this.#refused(thrown),
    );
  }

  get buffered(): number {
    return this.#over ? 0 : this.#sender.buffered;
  }

  send(data: string | Uint8Array): void {
    if (this.#over || this.#closed) return;
    const binary = typeof data !== "string";
    // A copy, because the session may write over its bytes before the batch goes out.
    if (!this.#sender.offer(binary ? ownBytes(data) : Buffer.from(data), binary)) {
      this.#sender.drop();
      this.close(CLOSE_TOO_BIG, "too much for one socket was sent at once");
    }
  }

  close(code: number, reason: string): void {
    if (this.#over || this.#closed) return;
    this.#closed = true;
    this.#sender.finish({ stream: this.#stream, type: "close", close: { code, reason, clean: true } });
    if (!this.#sender.finished) this.#closing = setTimeout(() => this.#sender.drop(), CLOSE_FLUSH_MS).unref();
  }

  receive(frame: Frame): void {
    if (this.#over) return;
    const end = this.#end;
    if (frame.type === "reset") return this.broken(errorOf(frame.reset));
    if (end === undefined) throw misplaced(frame);
    switch (frame.type) {
      case "message":
        return this.#message(end, frame.message.bytes, frame.message.binary);
      case "credit": {
        if (frame.credit.bytes === 0) return;
        this.#sender.credited(frame.credit.bytes);
        if (this.#sender.buffered === 0) end.drained();
        return;
      }
      case "close":
        this.#finish();
        return end.closed(frame.close.code, frame.close.reason, frame.close.clean);
      default:
        throw misplaced(frame);
    }
  }

  /** The client, or the worker that holds it, is gone. */
  broken(reason: MeshError): void {
    if (this.#over) return;
    this.#finish();
    if (this.#end === undefined) this.#call.cancel(reason);
    else this.#end.closed(CLOSE_LOST, "link lost", false);
  }

  #served(served: Served<ConnectAnswer>): void {
    if (this.#over) {
      if (served.status === "reply" && served.reply.status === "accepted")
        served.reply.end.closed(CLOSE_LOST, "link lost", false);
      return;
    }
    if (served.status === "moved") {
      this.#link.write(movedFrame(this.#stream, served));
      return this.#finish();
    }
    if (served.reply.status === "answered") {
      const { status, statusText, headers, body } = served.reply.reply;
      const bytes = wholeOf(body);
      this.#link.write({
        stream: this.#stream,
        type: "head",
        head: { status, statusText, headers, body: bytes, streamed: false },
      });
      return this.#finish();
    }
    this.#end = served.reply.end;
    const head = { status: 101, statusText: "Switching Protocols", headers: [], body: NO_BYTES, streamed: false };
    this.#link.write({ stream: this.#stream, type: "head", head });
    this.#sender.run();
  }

  #refused(thrown: unknown): void {
    if (this.#over) return;
    this.#link.write(resetFrame(this.#stream, MeshError.from(thrown)));
    this.#finish();
  }

  #message(end: SessionEnd, bytes: Uint8Array, binary: boolean): void {
    const cost = messageCost(bytes);
    this.#window.received(cost);
    const taken = end.message(
      binary ? ownBytes(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"),
    );
    if (taken === undefined) this.#consumed(cost);
    else void taken.then(() => this.#consumed(cost));
  }

  #consumed(bytes: number): void {
    const credit = this.#window.consumed(bytes);
    if (credit > 0 && !this.#over)
      this.#link.write({ stream: this.#stream, type: "credit", credit: { bytes: credit } });
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#closing);
    this.#link.finished(this.#stream);
  }
}

/** Hosts give whole bodies here. */
function wholeOf(body: Body): Uint8Array {
  if (body === null) return NO_BYTES;
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  throw new MeshError("internal", "the answer to a handshake is streamed");
}
