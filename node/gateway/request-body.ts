// The body of a request as a stream that reads from the client only when its reader asks: a session that does not read costs
// one socket buffer. Relies on the HTTP parser for framing; trailers are ignored.

import type { IncomingMessage, ServerResponse } from "node:http";
import { MeshError } from "#proto";
import { tooLarge } from "../web/web.ts";
import type { BodySource } from "./routes.ts";

export class RequestBody implements BodySource, UnderlyingDefaultSource<Uint8Array> {
  readonly #request: IncomingMessage;
  readonly #declaredBytes: number;
  /** Set when the client waits for `100 Continue` before it sends. */
  readonly #continueWith: ServerResponse | undefined;
  #bytesMax = Infinity;
  #bytesRead = 0;
  #listening = false;
  #over = false;
  #wake: (() => void) | undefined;
  /** Why reading stopped, when it was for the size: the answer to the client then says that, whatever the session made of it. */
  excess: MeshError | undefined;
  /** Since when a reader waits for the client, on the monotonic clock; undefined while nobody does. */
  waitingSinceMs: number | undefined;

  /** @param declaredBytes -1 when the body is chunked */
  constructor(request: IncomingMessage, declaredBytes: number, continueWith: ServerResponse | undefined) {
    this.#request = request;
    this.#declaredBytes = declaredBytes;
    this.#continueWith = continueWith;
  }

  /** Of what the client announced; Infinity when it did not say. */
  get unreadBytes(): number {
    return this.#declaredBytes < 0 ? Infinity : this.#declaredBytes - this.#bytesRead;
  }

  open(bytesMax: number): ReadableStream<Uint8Array> {
    this.#bytesMax = bytesMax;
    if (this.#declaredBytes > bytesMax) throw this.#exceeded();
    return new ReadableStream(this, { highWaterMark: 0 });
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    if (!this.#listening) this.#listen();
    for (;;) {
      const chunk: unknown = this.#request.read();
      if (chunk instanceof Uint8Array) {
        this.#bytesRead += chunk.byteLength;
        if (this.#bytesRead > this.#bytesMax) throw this.#exceeded();
        controller.enqueue(chunk);
        return;
      }
      if (this.#request.readableEnded) {
        controller.close();
        return;
      }
      if (this.#request.destroyed || this.#over)
        throw new MeshError("cancelled", "the client went away in the middle of its request");
      await this.#moreOrEnd();
    }
  }

  cancel(): void {
    this.#over = true;
    this.#wakeReader();
  }

  /** The response is out. What was not read by now is thrown away, so that a client that writes before it reads gets to it. */
  abandon(): void {
    this.cancel();
    // Node discards only bodies that nobody began to read, and a stream with a `readable` listener does not flow.
    this.#request.off("readable", this.#wakeReader);
    this.#request.resume();
  }

  /** The client has sent nothing for too long: whoever reads gets an error. */
  giveUp(): void {
    this.#request.destroy();
  }

  readonly #wakeReader = (): void => this.#wake?.();

  #moreOrEnd(): Promise<void> {
    this.waitingSinceMs = performance.now();
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        this.waitingSinceMs = undefined;
        resolve();
      };
    });
  }

  #listen(): void {
    this.#listening = true;
    this.#continueWith?.writeContinue();
    this.#request.on("readable", this.#wakeReader);
    this.#request.on("end", this.#wakeReader);
    this.#request.on("close", this.#wakeReader);
    // A reset connection; `close` follows and tells the reader.
    this.#request.on("error", this.#wakeReader);
  }

  #exceeded(): MeshError {
    this.excess = tooLarge(this.#bytesMax);
    return this.excess;
  }
}
