// Sends the messages of one direction of a socket within its window, in order; what does not fit waits here, and the close waits
// behind it. Who makes the messages looks at `buffered` or `open` and holds back.

import type { Frame } from "#proto";
import type { ExchangeLink } from "./exchange.ts";
import { SendWindow } from "./window.ts";

/** Counted on top of a message's bytes: about what one costs while it waits, so that a window of tiny messages is a window. */
const MESSAGE_OVERHEAD_BYTES = 64;
/** The largest message: it travels in one frame. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** What may wait here. Makers hold back long before; past this the socket is given up, or one slow client would take the worker's memory. */
const SOCKET_QUEUE_BYTES_MAX = 64 * 1024 * 1024;

/** What a message counts in the windows of both sides. */
export function messageCost(bytes: Uint8Array): number {
  return bytes.byteLength + MESSAGE_OVERHEAD_BYTES;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly binary: boolean;
}

export class MessageSender {
  readonly #link: ExchangeLink;
  readonly #stream: number;
  readonly #window = new SendWindow();
  #queue: Waiting[] = [];
  #at = 0;
  #queuedBytes = 0;
  #last: Frame | undefined;
  #running: boolean;
  #waiting = false;
  #over = false;

  /** `held`: nothing goes before `run`. */
  constructor(link: ExchangeLink, stream: number, held: boolean) {
    this.#link = link;
    this.#stream = stream;
    this.#running = !held;
  }

  /** Bytes offered and not consumed at the other end. */
  get buffered(): number {
    return this.#queuedBytes + this.#window.outstanding;
  }

  /** Another message would go at once. */
  get open(): boolean {
    return this.#queuedBytes === 0 && this.#window.open;
  }

  /** False: refused, the queue is full or the message too large; give the socket up. */
  offer(bytes: Uint8Array, binary: boolean): boolean {
    const cost = messageCost(bytes);
    if (bytes.byteLength > MESSAGE_BYTES_MAX || this.#queuedBytes + cost > SOCKET_QUEUE_BYTES_MAX) return false;
    if (this.#last !== undefined || this.#over) return true;
    this.#queue.push({ bytes, binary });
    this.#queuedBytes += cost;
    this.#pump();
    return true;
  }

  run(): void {
    this.#running = true;
    this.#pump();
  }

  /** Throws `bad_frame`. */
  credited(bytes: number): void {
    this.#window.credited(bytes);
    this.#pump();
  }

  /** Sends `frame` behind all messages; none is taken after it. */
  finish(frame: Frame): void {
    this.#last ??= frame;
    this.#pump();
  }

  /** The frame given to `finish` was written. */
  get finished(): boolean {
    return this.#over;
  }

  /** Drops the messages that wait, so that a frame given to `finish` need not wait for them. */
  drop(): void {
    this.#queue = [];
    this.#at = 0;
    this.#queuedBytes = 0;
    this.#pump();
  }

  #pump(): void {
    if (!this.#running || this.#waiting) return;
    while (this.#at < this.#queue.length && this.#window.open) {
      const congested = this.#link.ready();
      if (congested !== undefined) return this.#resumeAfter(congested);
      const next = this.#queue[this.#at++];
      if (next === undefined) break;
      const cost = messageCost(next.bytes);
      this.#queuedBytes -= cost;
      this.#window.sent(cost);
      this.#link.write({ stream: this.#stream, type: "message", message: next });
    }
    if (this.#at === this.#queue.length) {
      if (this.#at > 0) this.#queue = [];
      this.#at = 0;
      if (this.#last !== undefined) this.#end(this.#last);
    } else if (this.#at > 1_024 && this.#at * 2 > this.#queue.length) {
      // Copied only when half of it is behind us, so each message is moved about once.
      this.#queue = this.#queue.slice(this.#at);
      this.#at = 0;
    }
  }

  #end(last: Frame): void {
    this.#running = false;
    this.#over = true;
    this.#last = undefined;
    this.#link.write(last);
  }

  #resumeAfter(congested: Promise<void>): void {
    this.#waiting = true;
    void congested.then(() => {
      this.#waiting = false;
      this.#pump();
    });
  }
}
