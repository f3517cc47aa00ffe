// Collects the frames of one turn of the event loop and writes them as one batch: a gRPC message costs some 40 us, a frame in it 2.
// Relies on LinkStream for the pace; says who should wait and when the peer is hopelessly slow. Never drops a frame of a live link.

import type { Frame } from "#proto";
import type { LinkStream } from "./stream.ts";

/** Larger batches save nothing more and make others wait for one long message. */
const BATCH_BYTES_MAX = 256 * 1024;
/** Keeps the decoding of one batch well under a millisecond or two. */
const BATCH_FRAMES_MAX = 512;
/** Above this, producers of bulk data pause: enough to keep a fast link busy for some milliseconds. */
const READY_BYTES_MAX = 1024 * 1024;
/** Above this, new calls are refused: the peer or the network is far behind what is asked of it. */
const REFUSE_BYTES = 16 * 1024 * 1024;
/** Above this the link is given up: only small frames get here, so a peer that let so many pile up does not read at all. */
const OVERFLOW_BYTES = 64 * 1024 * 1024;
/** What a frame takes beyond its bulk bytes, roughly: headers, names, numbers. */
const FRAME_OVERHEAD_BYTES = 256;

interface Batch {
  readonly frames: Frame[];
  bytes: number;
}

export class BatchWriter {
  readonly #stream: LinkStream;
  readonly #overflow: () => void;
  #filling: Batch = { frames: [], bytes: 0 };
  #full: Batch[] = [];
  #queuedBytes = 0;
  #scheduled = false;
  #blocked = false;
  #closed = false;
  #wait: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  /** `overflow`: the link must be closed. */
  constructor(stream: LinkStream, overflow: () => void) {
    this.#stream = stream;
    this.#overflow = overflow;
  }

  write(frame: Frame): void {
    if (this.#closed) return;
    const bytes = sizeOf(frame);
    this.#queuedBytes += bytes;
    const batch = this.#filling;
    batch.bytes += bytes;
    if (batch.frames.push(frame) >= BATCH_FRAMES_MAX || batch.bytes >= BATCH_BYTES_MAX) this.#seal();
    if (this.#queuedBytes > OVERFLOW_BYTES) this.#overflow();
    else if (!this.#scheduled && !this.#blocked) {
      this.#scheduled = true;
      // An immediate runs after all sockets that are readable now have been read, so their requests share a batch.
      setImmediate(this.flush);
    }
  }

  /** New calls should be refused. */
  get overloaded(): boolean {
    return this.#queuedBytes > REFUSE_BYTES;
  }

  ready(): Promise<void> | undefined {
    if (this.#closed || this.#queuedBytes <= READY_BYTES_MAX) return undefined;
    this.#wait ??= Promise.withResolvers<void>();
    return this.#wait.promise;
  }

  /** The stream takes batches again. */
  drained(): void {
    this.#blocked = false;
    this.flush();
  }

  /** Writes what waits. Also called now and then from outside: an immediate can get lost when a session is terminated. */
  readonly flush = (): void => {
    this.#scheduled = false;
    while (!this.#closed && !this.#blocked) {
      if (this.#full.length === 0) {
        if (this.#filling.frames.length === 0) break;
        this.#seal();
      }
      const batch = this.#full.shift();
      if (batch === undefined) break;
      this.#queuedBytes -= batch.bytes;
      this.#blocked = !this.#stream.write(batch.frames);
    }
    if (this.#wait !== undefined && this.#queuedBytes <= READY_BYTES_MAX / 2) this.#release();
  };

  /** The link is closed: returns the frames that were never handed to the stream. */
  abandon(): Frame[] {
    const unsent = [...this.#full, this.#filling].flatMap((batch) => batch.frames);
    this.#closed = true;
    this.#full = [];
    this.#filling = { frames: [], bytes: 0 };
    this.#queuedBytes = 0;
    this.#release();
    return unsent;
  }

  #seal(): void {
    this.#full.push(this.#filling);
    this.#filling = { frames: [], bytes: 0 };
  }

  #release(): void {
    this.#wait?.resolve();
    this.#wait = undefined;
  }
}

function sizeOf(frame: Frame): number {
  switch (frame.type) {
    case "data":
      return FRAME_OVERHEAD_BYTES + frame.data.bytes.byteLength;
    case "message":
      return FRAME_OVERHEAD_BYTES + frame.message.bytes.byteLength;
    case "open":
      return FRAME_OVERHEAD_BYTES + frame.open.url.length + frame.open.body.byteLength;
    case "head":
      return FRAME_OVERHEAD_BYTES + frame.head.body.byteLength;
    case "answer":
      return (frame.answer.sessions.length + 1) * FRAME_OVERHEAD_BYTES + (frame.answer.relayed?.value.byteLength ?? 0);
    case "ask":
      return (
        ((frame.ask.ended?.sessions.length ?? 0) + 1) * FRAME_OVERHEAD_BYTES + (frame.ask.relay?.value.byteLength ?? 0)
      );
    default:
      return FRAME_OVERHEAD_BYTES;
  }
}
