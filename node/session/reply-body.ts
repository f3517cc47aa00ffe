// The streamed body of a response. Its chunks are made by session code, so each pull is an entry into the session and
// each chunk an output: a throw is an error of its request, a closed lease holds the chunk back, and the session's end breaks the stream.

import type { MeshError } from "#proto";
import type { Lease } from "#mesh";
import type { Unfinished } from "./belongings.ts";
import { turns } from "./turns.ts";

export interface ReplyBodyOptions {
  readonly lease: Lease;
  /** Runs `fn` as session code. */
  readonly enter: <Result>(fn: () => Result) => Result;
  /** What the client gets for an error of session code. */
  readonly blame: (error: unknown) => MeshError;
  /** The reader has gone away. */
  readonly cancelled: () => void;
  /** Exactly once: nothing of the session runs for this body any more. */
  readonly over: () => void;
}

export class ReplyBody implements Unfinished {
  unfinishedPrev: Unfinished | undefined = undefined;
  unfinishedNext: Unfinished | undefined = undefined;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #options: ReplyBodyOptions;
  readonly #reader: ReadableStreamDefaultReader<unknown>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #over = false;
  /** What the source failed with: it says so again when it is cancelled. */
  #blamed: unknown = undefined;

  constructor(source: ReadableStream<unknown>, options: ReplyBodyOptions) {
    this.#options = options;
    this.#reader = source.getReader();
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#pull(),
        cancel: (reason) => this.#cancel(reason),
      },
      // Nothing is made before it is asked for.
      { highWaterMark: 0 },
    );
  }

  /** The session has ended, or the caller has gone: breaks the stream. */
  fail(error: MeshError): void {
    if (this.#over) return;
    this.#end();
    this.#controller?.error(error);
    this.#release(error);
  }

  async #pull(): Promise<void> {
    try {
      // The reader may be another session in the middle of its turn, so neither side does its work in the other's.
      if (turns.areApart) await turns.next();
      if (this.#over) return;
      const step = await this.#options.enter(() => this.#reader.read());
      if (turns.areApart) await turns.next();
      if (!this.#options.lease.isOpen()) await this.#options.lease.whenOpen();
      if (this.#over) return;
      if (step.done) {
        this.#end();
        this.#controller?.close();
      } else if (step.value instanceof Uint8Array) {
        this.#controller?.enqueue(step.value);
      } else {
        throw new TypeError("the body of a Response must be a stream of Uint8Array");
      }
    } catch (error) {
      if (this.#over) return;
      this.#blamed = error;
      this.fail(this.#options.blame(error));
    }
  }

  #cancel(reason: unknown): void {
    if (this.#over) return;
    this.#end();
    this.#options.cancelled();
    this.#release(reason);
  }

  #release(reason: unknown): void {
    // Runs the `cancel` of session code; what it throws is the session's.
    this.#options
      .enter(() => this.#reader.cancel(reason))
      .catch((error: unknown) => {
        if (error !== this.#blamed) this.#options.blame(error);
      });
  }

  #end(): void {
    this.#over = true;
    this.#options.over();
  }
}
