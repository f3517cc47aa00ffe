// A link between a worker and a thread or process of its own, on which both sides ask and both answer: the exchanges of a link between
// workers, over any stream of packets. There is no Hello, since each end was started by the other. A packet is one byte that names
// its lane, and a batch of frames or a message of the two ends to each other.

import { MeshError, decodeBatch, encodeBatch, workerIdOf, type Frame } from "#proto";
import { Answerer } from "./answerer.ts";
import { Asker } from "./asker.ts";
import { BatchWriter } from "./batch-writer.ts";
import { Inbox } from "./inbox.ts";
import { atOnce, type LinkService } from "./port.ts";

/** Each end numbers what it asks from 1, so what it asks and what it answers are kept apart. */
const LANE_ASK = 0;
const LANE_ANSWER = 1;
const LANE_MESSAGE = 2;
/** Services are told who calls. Those of a paired link know: there is only one. */
const OTHER_END = workerIdOf("paired", { index: 0, incarnation: "link" });

export interface PacketStream {
  /** Takes the bytes over. False: hold further batches until `drained`. Never throws. */
  send(packet: Uint8Array<ArrayBuffer>): boolean;
}

export interface PairedLinkOptions<Received> {
  readonly stream: PacketStream;
  readonly service: Pick<LinkService, "call" | "connect">;
  readonly onMessage: (message: Received) => void;
  /** The other end broke the protocol or does not read: the link is of no use, `close` it. */
  readonly onFault: (error: MeshError) => void;
}

export class PairedLink<Sent, Received> {
  readonly asker: Asker;
  readonly #options: PairedLinkOptions<Received>;
  readonly #answerer: Answerer;
  readonly #asks: BatchWriter;
  readonly #answers: BatchWriter;
  readonly #asked = new Inbox((frame) => this.#answerer.receive(frame));
  readonly #answered = new Inbox((frame) => this.asker.receive(frame));
  #closed = false;

  constructor(options: PairedLinkOptions<Received>) {
    this.#options = options;
    const overflow = (): void =>
      options.onFault(new MeshError("overloaded", "the other end does not read what it is sent"));
    this.#asks = new BatchWriter(this.#lane(LANE_ASK), overflow);
    this.#answers = new BatchWriter(this.#lane(LANE_ANSWER), overflow);
    this.asker = new Asker(this.#asks);
    const service: LinkService = {
      call: (from, call, how) => options.service.call(from, call, how),
      connect: (from, call, client, how) => options.service.connect(from, call, client, how),
      admit: () => Promise.resolve(true),
      ask: () => Promise.reject(new MeshError("bad_frame", "no directory is behind this link")),
    };
    this.#answerer = new Answerer(OTHER_END, service, this.#answers, atOnce);
  }

  /** A JSON value. Overtakes batches of this turn of the event loop, is overtaken by nothing. */
  tell(message: Sent): void {
    if (!this.#closed) this.#options.stream.send(packetOf(LANE_MESSAGE, Buffer.from(JSON.stringify(message))));
  }

  received(packet: Uint8Array): void {
    if (this.#closed) return;
    const bytes = packet.subarray(1);
    switch (packet[0]) {
      case LANE_ASK:
        return this.#guard(() => this.#asked.push(decodeBatch(bytes)));
      case LANE_ANSWER:
        return this.#guard(() => this.#answered.push(decodeBatch(bytes)));
      case LANE_MESSAGE:
        // Written by our own other end, of the same code.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion
        return this.#options.onMessage(JSON.parse(Buffer.from(bytes).toString("utf8")) as Received);
      default:
        return this.#options.onFault(new MeshError("bad_frame", "a packet of no known lane"));
    }
  }

  drained(): void {
    this.#asks.drained();
    this.#answers.drained();
  }

  /** Now and then: what is too late is given up, and what a session that was ended by force left undone is taken up. */
  sweep(nowMs: number): void {
    if (this.#closed) return;
    this.#guard(() => this.#asked.drain());
    this.#guard(() => this.#answered.drain());
    this.#asks.flush();
    this.#answers.flush();
    this.asker.sweep(nowMs);
  }

  /** Everything under way in either direction fails with `reason`. Idempotent. */
  close(reason: MeshError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#asked.clear();
    this.#answered.clear();
    this.#answers.abandon();
    this.asker.broken(reason, this.#asks.abandon());
    this.#answerer.broken(reason);
  }

  #lane(lane: number): { write(batch: readonly Frame[]): boolean; close(): void } {
    return {
      write: (batch) => this.#closed || this.#options.stream.send(packetOf(lane, encodeBatch(batch))),
      close: () => {},
    };
  }

  #guard(handle: () => void): void {
    try {
      handle();
    } catch (thrown) {
      if (!(thrown instanceof MeshError) || thrown.code !== "bad_frame") throw thrown;
      this.#options.onFault(thrown);
    }
  }
}

/** In memory of its own, which a stream may give away. */
function packetOf(lane: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(bytes.byteLength + 1);
  packet[0] = lane;
  packet.set(bytes, 1);
  return packet;
}
