// Sends a body as Data frames within its window. Pulls from the source only what it may send: a source behind a slow reader rests.

import { MeshError } from "#proto";
import { NO_BYTES, type ExchangeLink } from "./exchange.ts";
import type { SendWindow } from "./window.ts";

/** Larger frames would hold up other exchanges of the link. */
const DATA_BYTES_MAX = 64 * 1024;

export interface BodySenderEvents {
  /** The end was written. */
  sent(): void;
  /** The source broke off. */
  failed(error: unknown): void;
}

export class BodySender {
  readonly #link: ExchangeLink;
  readonly #stream: number;
  readonly #source: Uint8Array | ReadableStream<Uint8Array>;
  readonly #window: SendWindow;
  readonly #events: BodySenderEvents;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #wake: (() => void) | undefined;
  #started = false;
  #over = false;

  constructor(
    link: ExchangeLink,
    stream: number,
    source: Uint8Array | ReadableStream<Uint8Array>,
    window: SendWindow,
    events: BodySenderEvents,
  ) {
    this.#link = link;
    this.#stream = stream;
    this.#source = source;
    this.#window = window;
    this.#events = events;
  }

  /** True once the source may have been read from. */
  get started(): boolean {
    return this.#started;
  }

  start(): void {
    if (this.#started || this.#over) return;
    this.#started = true;
    this.#run().then(
      () => {
        if (this.#over) return;
        this.#over = true;
        this.#events.sent();
      },
      (error: unknown) => {
        if (this.#over) return;
        this.stop(error);
        this.#events.failed(error);
      },
    );
  }

  /** Throws `bad_frame`. The first credit starts a sender whose window was shut. */
  credited(bytes: number): void {
    this.#window.credited(bytes);
    if (!this.#started) this.start();
    this.#wake?.();
  }

  /** Sends no more and lets go of the source. */
  stop(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    this.#wake?.();
    if (this.#source instanceof Uint8Array) return;
    // What a source says about being cancelled concerns nobody any more; without a listener it would count as unhandled.
    (this.#reader ?? this.#source).cancel(reason).catch(() => {});
  }

  async #run(): Promise<void> {
    if (this.#source instanceof Uint8Array) {
      await this.#send(this.#source);
    } else {
      this.#reader = this.#source.getReader();
      while (await this.#permitted()) {
        const { done, value } = await this.#reader.read();
        if (this.#over) return;
        if (done) break;
        if (!(value instanceof Uint8Array))
          throw new MeshError("internal", "a body stream must be made of Uint8Array chunks");
        await this.#send(value);
      }
    }
    if (!this.#over) this.#write(NO_BYTES, true);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength; at += DATA_BYTES_MAX) {
      if (!(await this.#permitted())) return;
      this.#write(bytes.subarray(at, at + DATA_BYTES_MAX), false);
    }
  }

  #write(bytes: Uint8Array, end: boolean): void {
    this.#window.sent(bytes.byteLength);
    this.#link.write({ stream: this.#stream, type: "data", data: { bytes, end } });
  }

  /** Waits until a frame may go. False: stopped. */
  async #permitted(): Promise<boolean> {
    while (!this.#over) {
      const congested = this.#link.ready();
      if (congested !== undefined) await congested;
      else if (this.#window.open) return true;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
    return false;
  }
}
