// A body that arrives as Data frames, read as a ReadableStream at the pace of its reader: a credit goes back as bytes are pulled, so
// what is held here never passes the window by more than a frame.

import type { MeshError } from "#proto";
import { ownBytes } from "./exchange.ts";
import { ReceiveWindow, WINDOW_BYTES } from "./window.ts";

export interface BodyReader {
  /** The reader has taken so many bytes: tell the sender. */
  credit(bytes: number): void;
  /** The reader does not want the rest. */
  cancelled(reason: unknown): void;
}

export class ReceivedBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #reader: BodyReader;
  readonly #window: ReceiveWindow;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #chunks: Uint8Array[] = [];
  #wanted = false;
  #ended = false;
  // The stream was closed, errored or cancelled: the controller must not be touched any more.
  #settled = false;
  #accepted: boolean;

  /** `onDemand`: the sender waits for the first credit, which goes out when the body is first read. */
  constructor(reader: BodyReader, onDemand: boolean) {
    this.#reader = reader;
    this.#accepted = !onDemand;
    this.#window = new ReceiveWindow(onDemand ? WINDOW_BYTES : 0);
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pulled(),
        cancel: (reason) => {
          this.#settle();
          if (!this.#ended) this.#reader.cancelled(reason);
        },
      },
      // 0: nothing is pulled, and so nothing accepted, before somebody reads.
      { highWaterMark: 0 },
    );
  }

  /** All of it has arrived. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Throws `bad_frame` on data past the window or past the end. */
  data(bytes: Uint8Array, end: boolean): void {
    if (bytes.byteLength > 0) {
      this.#window.received(bytes.byteLength);
      if (!this.#settled) this.#chunks.push(ownBytes(bytes));
    }
    if (end) this.#ended = true;
    if (this.#wanted) this.#deliver();
    else if (this.#ended && this.#chunks.length === 0) this.#finish();
  }

  /** The rest will not come. What has arrived and was not read is lost with it. */
  fail(error: MeshError): void {
    if (this.#settled) return;
    this.#settle();
    this.#controller?.error(error);
  }

  #pulled(): void {
    this.#wanted = true;
    if (!this.#accepted) {
      this.#accepted = true;
      this.#credit(WINDOW_BYTES);
    }
    this.#deliver();
  }

  #deliver(): void {
    if (this.#settled) return;
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      // First, because enqueue may pull again at once.
      this.#wanted = false;
      this.#controller?.enqueue(chunk);
      // A body that is here to its end has a sender that waits for nothing.
      if (!this.#ended) this.#credit(chunk.byteLength);
    }
    if (this.#ended && this.#chunks.length === 0) this.#finish();
  }

  #credit(bytes: number): void {
    const credit = this.#window.consumed(bytes);
    if (credit > 0) this.#reader.credit(credit);
  }

  #finish(): void {
    if (this.#settled) return;
    this.#settle();
    this.#controller?.close();
  }

  #settle(): void {
    this.#settled = true;
    this.#wanted = false;
    this.#chunks = [];
  }
}
