// Packets over a pipe between two processes: each behind its length.

import type { Socket } from "node:net";
import type { PacketStream } from "#mesh";
import type { PacketEvents } from "./port-stream.ts";

const LENGTH_BYTES = 4;
/** The largest message of a socket and its batch fit easily. More means that somebody else writes into the pipe. */
const PACKET_BYTES_MAX = 64 * 1024 * 1024;

export interface PipeEvents extends PacketEvents {
  /** The other end is gone, or what it sends are no packets. */
  closed(): void;
}

export class PipeStream implements PacketStream {
  readonly #pipe: Socket;
  readonly #events: PipeEvents;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Of the next packet, once its length has arrived. */
  #length: number | undefined;

  constructor(pipe: Socket, events: PipeEvents) {
    this.#pipe = pipe;
    this.#events = events;
    pipe.on("data", (chunk: Buffer) => this.#data(chunk));
    pipe.on("drain", () => events.drained());
    // A pipe whose other end has died says so as an error or as its end; `close` follows both.
    pipe.on("error", () => {});
    pipe.on("end", () => pipe.destroy());
    pipe.on("close", () => events.closed());
  }

  send(packet: Uint8Array): boolean {
    const length = Buffer.allocUnsafe(LENGTH_BYTES);
    length.writeUInt32BE(packet.byteLength);
    this.#pipe.cork();
    this.#pipe.write(length);
    const more = this.#pipe.write(packet);
    this.#pipe.uncork();
    // What is written to a pipe that has closed leads nowhere; nothing is to wait for it.
    return more || this.#pipe.destroyed;
  }

  /** Everything that was sent has gone into the pipe. */
  flushed(): Promise<void> {
    return new Promise((resolve) => this.#pipe.write("", () => resolve()));
  }

  #data(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    for (;;) {
      this.#length ??= this.#take(LENGTH_BYTES)?.readUInt32BE();
      if (this.#length === undefined) return;
      if (this.#length > PACKET_BYTES_MAX) {
        this.#pipe.destroy();
        return;
      }
      const packet = this.#take(this.#length);
      if (packet === undefined) return;
      this.#length = undefined;
      this.#events.received(packet);
    }
  }

  #take(bytes: number): Buffer | undefined {
    if (this.#bytes < bytes) return undefined;
    const [first] = this.#chunks;
    const whole = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks, this.#bytes);
    this.#bytes -= bytes;
    this.#chunks = this.#bytes === 0 ? [] : [whole.subarray(bytes)];
    return whole.subarray(0, bytes);
  }
}
