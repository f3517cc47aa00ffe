// A client's WebSocket: passes messages between `ws` and the session that accepted it. Before the handshake it holds what the session
// sends; a session that answers slowly slows its client down, and no client can fill memory.

import type { Duplex } from "node:stream";
import { WebSocket, type RawData } from "ws";
import { SOCKET_WINDOW_BYTES, type ClientEnd, type SessionEnd } from "#mesh";
import { turns, type Torn } from "../session/turns.ts";
import type { Beating, Heartbeat } from "./heartbeat.ts";
import { smallFrame } from "./small-frame.ts";

/** Every message weighs so much more than its bytes, or empty ones would have no bound. */
const MESSAGE_OVERHEAD_BYTES = 64;
/** What a session may send before the handshake has been answered. More means that it does not watch `buffered`. */
const EARLY_BYTES_MAX = SOCKET_WINDOW_BYTES;
/** Smaller messages are copied: a view would keep the whole chunk alive that they came in. */
const COPY_BYTES_MAX = 16 * 1024;
const REASON_BYTES_MAX = 123;
const NOTHING = new Uint8Array();

const CLOSE_NO_STATUS = 1005;
const CLOSE_ABNORMAL = 1006;
const CLOSE_INTERNAL = 1011;
const CLOSE_OVERLOADED = 1013;

/** The `ws` socket of a client; the field spares every socket a closure for each event. */
export class GatewaySocket extends WebSocket {
  client: ClientSocket | undefined;
}

export class ClientSocket implements ClientEnd, Beating, Torn {
  heartbeatSlice = -1;
  missedPings = 0;
  #socket: GatewaySocket | undefined;
  /** What `#socket` writes to. */
  #stream: Duplex | undefined;
  #end: SessionEnd | undefined;
  /** Sent before the handshake; undefined after it. */
  #early: (string | Uint8Array)[] | undefined = [];
  #earlyBytes = 0;
  #closing: { readonly code: number; readonly reason: string } | undefined;
  /** Bytes that the session is busy with. */
  #unsettledBytes = 0;
  #flushing = false;
  #compressed = false;
  #closed = false;
  readonly #heartbeat: Heartbeat;

  constructor(heartbeat: Heartbeat) {
    this.#heartbeat = heartbeat;
  }

  // ---- what the session's host sees ----

  send(data: string | Uint8Array): void {
    const socket = this.#socket;
    if (this.#closed || this.#closing !== undefined) return;
    if (socket === undefined) {
      this.#sendEarly(data);
      return;
    }
    if (socket.readyState !== WebSocket.OPEN) return;
    if (this.#compressed) {
      // What is being compressed has its place in the queue of `ws`: nothing may pass it by.
      socket.send(data, this.#settled);
      return;
    }
    const frame = smallFrame(data);
    if (frame === undefined) socket.send(data);
    else this.#stream?.write(frame);
    if (!this.#flushing && socket.bufferedAmount > 0) this.#tellWhenFlushed(socket);
  }

  get buffered(): number {
    return this.#socket?.bufferedAmount ?? this.#earlyBytes;
  }

  close(code: number, reason: string): void {
    if (this.#closed || this.#closing !== undefined) return;
    this.#closing = { code, reason };
    if (this.#socket !== undefined) closeSocket(this.#socket, code, reason);
  }

  // ---- what the gateway sees ----

  /** The handshake is done. */
  opened(socket: GatewaySocket, stream: Duplex, end: SessionEnd): void {
    this.#socket = socket;
    this.#stream = stream;
    this.#end = end;
    this.#compressed = socket.extensions !== "";
    this.#heartbeat.add(this);
    socket.client = this;
    socket.on("message", onMessage);
    socket.on("close", onClose);
    socket.on("pong", onPong);
    socket.on("error", onError);
    const early = this.#early ?? [];
    this.#early = undefined;
    const closing = this.#closing;
    this.#closing = undefined;
    for (const data of early) this.send(data);
    if (closing !== undefined) this.close(closing.code, closing.reason);
    if (early.length > 0 && !this.#flushing) end.drained();
  }

  received(data: Uint8Array | string, bytes: number): void {
    this.missedPings = 0;
    this.#heartbeat.messages++;
    const first = turns.enterTop(this, this);
    let settled: void | Promise<void>;
    try {
      settled = this.#end?.message(data);
    } finally {
      if (first) turns.leaveTop();
    }
    if (settled === undefined) return;
    const weight = bytes + MESSAGE_OVERHEAD_BYTES;
    this.#unsettledBytes += weight;
    if (this.#unsettledBytes > SOCKET_WINDOW_BYTES) this.#socket?.pause();
    void settled.then(() => {
      this.#unsettledBytes -= weight;
      if (this.#unsettledBytes < SOCKET_WINDOW_BYTES / 2 && this.#socket?.isPaused === true) this.#socket.resume();
    });
  }

  /** The receiver of `ws` was torn off with the session: it will not see the client's close frame, so this side ends the stream. */
  torn(): void {
    this.#stream?.end();
  }

  /** The connection is gone, whether it ever opened or not. */
  closedBy(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#early = undefined;
    this.#heartbeat.remove(this);
    this.#end?.closed(code, reason, code !== CLOSE_ABNORMAL);
  }

  get hearing(): boolean {
    return this.#socket?.isPaused === false;
  }

  ping(): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  terminate(): void {
    this.#socket?.terminate();
  }

  #sendEarly(data: string | Uint8Array): void {
    this.#earlyBytes += (typeof data === "string" ? Buffer.byteLength(data) : data.byteLength) + MESSAGE_OVERHEAD_BYTES;
    if (this.#earlyBytes > EARLY_BYTES_MAX) {
      this.#early = [];
      this.close(CLOSE_OVERLOADED, "too much was sent before the handshake");
    } else {
      this.#early?.push(data);
    }
  }

  readonly #settled = (): void => {
    if (!this.#closed && this.#socket?.bufferedAmount === 0) this.#end?.drained();
  };

  /** An empty write settles behind all that was written before it: no callback per message is needed. */
  #tellWhenFlushed(socket: GatewaySocket): void {
    this.#flushing = true;
    this.#stream?.write(NOTHING, () => {
      this.#flushing = false;
      if (this.#closed) return;
      if (socket.bufferedAmount > 0) this.#tellWhenFlushed(socket);
      else this.#end?.drained();
    });
  }
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  if (!(this instanceof GatewaySocket) || !Buffer.isBuffer(data)) return;
  if (!isBinary) this.client?.received(data.toString(), data.byteLength);
  else this.client?.received(data.byteLength <= COPY_BYTES_MAX ? new Uint8Array(data) : data, data.byteLength);
}

function onClose(this: WebSocket, code: number, reason: Buffer): void {
  if (this instanceof GatewaySocket) this.client?.closedBy(code, reason.toString());
}

function onPong(this: WebSocket): void {
  if (this instanceof GatewaySocket && this.client !== undefined) this.client.missedPings = 0;
}

/** A broken frame or connection: `ws` closes the socket by itself and `close` follows. Without a listener it would end the process. */
function onError(): void {}

function closeSocket(socket: WebSocket, code: number, reason: string): void {
  if (code === CLOSE_ABNORMAL) socket.terminate();
  else if (code === CLOSE_NO_STATUS) socket.close();
  else socket.close(isSendable(code) ? code : CLOSE_INTERNAL, clip(reason));
}

/** The codes that a close frame may carry (RFC 6455, 7.4, and the registry that it made). */
function isSendable(code: number): boolean {
  if (!Number.isInteger(code)) return false;
  return (
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)
  );
}

function clip(reason: string): string {
  if (Buffer.byteLength(reason) <= REASON_BYTES_MAX) return reason;
  // Cut to the limit, and drop a character that the cut went through.
  return new TextDecoder().decode(Buffer.from(reason).subarray(0, REASON_BYTES_MAX)).replace(/\ufffd+$/, "");
}
