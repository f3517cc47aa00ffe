// Packets over a MessagePort. A port takes whatever it is given, so each side says how much it has read, and who writes waits for that.

import { receiveMessageOnPort, type MessagePort } from "node:worker_threads";
import type { PacketStream } from "#mesh";

/** Bytes under way before who writes waits. Enough for some batches; the windows of the exchanges bound what waits behind it. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** What was read is told in steps. Must be well under what may be unread, or both sides wait. */
const READ_STEP_BYTES = 128 * 1024;
/** Counted on top of a packet's bytes, so that very many small ones count too. */
const PACKET_OVERHEAD_BYTES = 64;

export interface PacketEvents {
  received(packet: Uint8Array): void;
  drained(): void;
}

export class PortStream implements PacketStream {
  readonly #port: MessagePort;
  readonly #events: PacketEvents;
  #unread = 0;
  #read = 0;
  #blocked = false;

  constructor(port: MessagePort, events: PacketEvents) {
    this.#port = port;
    this.#events = events;
    port.on("message", (message: unknown) => this.#hear(message));
  }

  send(packet: Uint8Array<ArrayBuffer>): boolean {
    this.#unread += costOf(packet);
    this.#port.postMessage(packet, [packet.buffer]);
    this.#blocked = this.#unread >= UNREAD_BYTES_MAX;
    return !this.#blocked;
  }

  /** The other end is gone: what it had sent before is still here. */
  drain(): void {
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      this.#hear(next.message);
    }
  }

  #hear(message: unknown): void {
    if (typeof message === "number") {
      this.#unread -= message;
      if (!this.#blocked || this.#unread >= UNREAD_BYTES_MAX) return;
      this.#blocked = false;
      this.#events.drained();
    } else if (message instanceof Uint8Array) {
      this.#read += costOf(message);
      if (this.#read >= READ_STEP_BYTES) {
        // A port of threads, which has no origins.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin
        this.#port.postMessage(this.#read);
        this.#read = 0;
      }
      this.#events.received(message);
    }
  }
}

function costOf(packet: Uint8Array): number {
  return packet.byteLength + PACKET_OVERHEAD_BYTES;
}
