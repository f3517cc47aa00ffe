// What one exchange (a call, a socket or a question) needs of its link, on either side, and what it gives to it.

import { isAscii } from "node:buffer";
import { MeshError, isErrorCode, type Frame, type SessionKey } from "#proto";
import type { SessionCall } from "../call.ts";
import type { CallOptions } from "./port.ts";

export interface ExchangeLink {
  write(frame: Frame): void;
  /** A promise while the link has more to send than it should: who makes bulk data waits for it. */
  ready(): Promise<void> | undefined;
  /** No frame of this stream is awaited any more. */
  finished(stream: number): void;
}

export interface Exchange {
  /** Throws `bad_frame` when the frame has no place here: the link must be closed then. */
  receive(frame: Frame): void;
  /** The link is gone. `unopened`: not even the first frame left this process. */
  broken(reason: MeshError, unopened: boolean): void;
}

/** Bodies up to this size travel inside Open or Head. Too small costs frames; too large lets one body hold up the batch it is in. */
export const INLINE_BYTES_MAX = 64 * 1024;

/** Bodies of ASCII up to this size are handed on as text. Larger ones would not fit into what Node writes to a socket without a buffer. */
const TEXT_BYTES_MAX = 4 * 1024;

export const NO_BYTES = new Uint8Array(0);

/**
 * Exchanges of one link at a time. Each costs a few hundred bytes; the bound only keeps a runaway peer from taking all memory,
 * so it is above the sockets that one gateway process can hold.
 */
export const EXCHANGES_MAX = 262_144;

export function resetFrame(stream: number, error: MeshError): Frame {
  const { code, message, retryAfterMs } = error;
  return { stream, type: "reset", reset: { code, message, retryAfterMs: retryAfterMs ?? 0 } };
}

/**
 * A code that this version does not know comes from a newer peer; its message still says what happened.
 * @param session the one that the exchange is about; it does not travel with the error
 */
export function errorOf(
  reset: { readonly code: string; readonly message: string; readonly retryAfterMs: number },
  session?: SessionKey,
): MeshError {
  const code = isErrorCode(reset.code) ? reset.code : "internal";
  return new MeshError(code, reset.message, {
    ...(session === undefined ? {} : { session }),
    ...(reset.retryAfterMs > 0 ? { retryAfterMs: reset.retryAfterMs } : {}),
  });
}

export function openFrame(
  stream: number,
  call: SessionCall,
  options: CallOptions,
  body: Uint8Array,
  kind: { readonly streamed: boolean; readonly upgrade: boolean },
): Frame {
  return {
    stream,
    type: "open",
    open: {
      epoch: options.epoch,
      key: call.id.key,
      method: call.method,
      url: call.url,
      headers: call.headers,
      upgrade: kind.upgrade,
      onlyIfActive: call.onlyIfActive,
      timeoutMs: call.timeoutMs,
      body,
      streamed: kind.streamed,
      stale: options.stale ?? "",
      ip: call.ip,
      claims: call.claims ?? NO_BYTES,
      protocol: call.protocol,
    },
  };
}

export function misplaced(frame: Frame): MeshError {
  return new MeshError("bad_frame", `a peer sent a ${frame.type} frame where none may be`);
}

/**
 * A copy with memory of its own. Received bytes are views into a batch that also holds other sessions' bytes: the reader must
 * neither see those through `.buffer` nor keep the batch alive.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** The same for a body. Text costs no memory outside of the heap, and goes out to a client in one piece with the head. */
export function ownBody(bytes: Uint8Array): string | Uint8Array<ArrayBuffer> | null {
  if (bytes.byteLength === 0) return null;
  if (bytes.byteLength > TEXT_BYTES_MAX || !isAscii(bytes)) return ownBytes(bytes);
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("latin1");
}
