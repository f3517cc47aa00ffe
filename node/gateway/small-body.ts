// A small request body, read whole before its session is called. A stream for it would cost more than all the rest of the request,
// and bytes that are at hand travel in the first frame to another worker and can be sent again.

import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { tooLarge } from "../web/web.ts";
import { STALL_MS, type Waiting } from "./exchange.ts";
import type { BodySource } from "./routes.ts";

/** Of a declared length. Too small: forms and JSON are streamed. Too large: idle clients hold memory before anybody asked for it. */
export const SMALL_BODY_BYTES_MAX = 16 * 1024;

export interface Arrival {
  /** All of it is there. */
  readonly whole: (body: BodySource) => void;
  /** The body needs no sweep any more, whether it arrived or its client went away. */
  readonly over: (waiting: Waiting) => void;
}

export class SmallBody implements BodySource, Waiting {
  place = -1;
  readonly #request: IncomingMessage;
  readonly #sinceMs = performance.now();
  #bytes: Uint8Array = new Uint8Array();
  #filled = 0;

  constructor(request: IncomingMessage, bytes: number, { whole, over }: Arrival) {
    this.#request = request;
    request.on("data", (chunk: Uint8Array) => this.#add(chunk, bytes));
    request.on("end", () => {
      over(this);
      whole(this);
    });
    request.on("close", () => over(this));
  }

  get connection(): Duplex {
    return this.#request.socket;
  }

  open(bytesMax: number): Uint8Array {
    if (this.#bytes.byteLength > bytesMax) throw tooLarge(bytesMax);
    return this.#bytes;
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#sinceMs > STALL_MS) this.destroy();
  }

  destroy(): void {
    this.#request.destroy();
  }

  /** Nearly always one chunk brings all of it. */
  #add(chunk: Uint8Array, bytes: number): void {
    if (chunk.byteLength === bytes) {
      this.#bytes = chunk;
      return;
    }
    if (this.#filled === 0) this.#bytes = new Uint8Array(bytes);
    this.#bytes.set(chunk, this.#filled);
    this.#filled += chunk.byteLength;
  }
}
