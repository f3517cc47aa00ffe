// A socket of one session: SessionSocket towards session code, SessionEnd towards the gateway. Output waits while the
// handshake is not answered yet or the node's lease is closed; a client that reads too slowly is closed, so that what a session buffers is bounded.

import { randomUUID } from "node:crypto";
import { MeshError } from "#proto";
import type { ClientEnd, SessionEnd } from "#mesh";
import type { Cell } from "./cell.ts";
import { outside } from "./current.ts";
import type { SessionServer } from "./server.ts";
import type { SessionSocket } from "./socket.ts";
import { turns } from "./turns.ts";

/** Close codes of RFC 6455 and its registry. */
const TOO_BIG = 1009;
const TRY_AGAIN_LATER = 1013;
/** The protocol's limit for a close reason, in UTF-8 bytes. */
const REASON_BYTES_MAX = 123;

/**
 * What may wait for all clients of one session together. Too small: a message to a large room closes the slower half. Too large: a
 * room of clients that do not read fills the worker, though each stays below its own bound.
 */
const UNSENT_BYTES_MAX = 128 * 1024 * 1024;

type Handshake =
  /** Not answered. */
  | "offered"
  /** Answered, but the answer may not have gone out before our next words. */
  | "accepted"
  | "done";

export class CellSocket implements SessionSocket, SessionEnd {
  readonly url: string;
  tags: readonly string[] = [];
  attachment: unknown = undefined;
  readonly #cell: Cell;
  readonly #client: ClientEnd;
  #id: string | undefined = undefined;
  #handshake: Handshake = "offered";
  /** For session code; what it had sent before may still be held. */
  #closed = false;
  /** Invariant: `#heldBytes` is their size, bounded by `maxBufferedBytes` and one message. */
  #held: (string | Uint8Array)[] = NOTHING;
  #heldBytes = 0;
  /** Its part of what the session has booked as unsent. */
  #bookedBytes = 0;
  #heldClose: { readonly code: number; readonly reason: string } | undefined = undefined;
  #drained: PromiseWithResolvers<void> | undefined = undefined;

  constructor(cell: Cell, client: ClientEnd, url: string) {
    this.#cell = cell;
    this.#client = client;
    this.url = url;
  }

  // ---- towards session code ----

  /** Made when it is first asked for: Node joins it of twenty strings, which take half a kilobyte together. */
  get id(): string {
    return (this.#id ??= randomUUID());
  }

  get bufferedAmount(): number {
    return this.#heldBytes + this.#client.buffered;
  }

  send(message: string | Uint8Array | ArrayBuffer): void {
    const data = message instanceof ArrayBuffer ? new Uint8Array(message) : message;
    if (typeof data !== "string" && !(data instanceof Uint8Array)) {
      throw new TypeError("socket.send takes a string, a Uint8Array or an ArrayBuffer");
    }
    if (this.#closed) return;
    if (this.#mayGo()) {
      outside(() => this.#client.send(data));
    } else {
      if (this.#held === NOTHING) this.#held = [];
      this.#held.push(data);
      this.#heldBytes += typeof data === "string" ? Buffer.byteLength(data) : data.byteLength;
    }
    const unsentBytes = this.bufferedAmount;
    if (unsentBytes > this.#cell.kind.options.maxBufferedBytes) {
      this.#limit(TRY_AGAIN_LATER, "client reads too slowly", "overloaded");
    } else if (
      unsentBytes > 0 &&
      this.#booked(unsentBytes) > UNSENT_BYTES_MAX &&
      this.#allUnsent() > UNSENT_BYTES_MAX
    ) {
      this.#limit(TRY_AGAIN_LATER, "clients of the session read too slowly", "overloaded");
    }
  }

  close(code = 1000, reason = ""): void {
    if (!(code === 1000 || (code >= 3000 && code <= 4999 && Number.isInteger(code)))) {
      throw new RangeError(`a socket can be closed with 1000 or 3000 to 4999, not ${code}`);
    }
    if (reason.length > REASON_BYTES_MAX / 3 && Buffer.byteLength(reason) > REASON_BYTES_MAX) {
      throw new RangeError(`a close reason has at most ${REASON_BYTES_MAX} bytes of UTF-8`);
    }
    if (this.#closed) return;
    this.#closeClient(code, reason);
    this.#tell((server) => server.onClose?.(this, code, reason, true));
  }

  drain(): Promise<void> {
    if (this.#closed || this.bufferedAmount === 0) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  // ---- towards the gateway ----

  message(data: string | Uint8Array): void | Promise<void> {
    if (this.#closed) return;
    if (this.#isTooBig(data)) {
      this.#limit(TOO_BIG, "message too big", "body_too_large");
      return;
    }
    // It may have waited, and the session may have closed the socket meanwhile.
    return this.#cell.event((server) => (this.#closed ? undefined : server.onMessage?.(this, data)));
  }

  drained(): void {
    if (this.#bookedBytes > 0) this.#booked(this.bufferedAmount);
    if (this.#held === NOTHING) this.#resolveDrain();
  }

  closed(code: number, reason: string, clean: boolean): void {
    this.#heldClose = undefined;
    this.#dropHeld();
    if (this.#closed) return;
    this.#end();
    void this.#cell.event((server) => server.onClose?.(this, code, reason, clean));
  }

  // ---- towards its cell ----

  /** The handshake is answered. The answer leaves in this turn of the event loop; what was sent follows in the next. */
  accepted(): void {
    this.#handshake = "accepted";
    outside(() =>
      setImmediate(() => {
        this.#handshake = "done";
        this.#flush();
      }),
    );
  }

  /** The session has ended; nothing of it runs any more. */
  drop(code: number, reason: string): void {
    if (this.#closed) return;
    this.#end();
    if (this.#handshake === "done") {
      this.#dropHeld();
      outside(() => this.#client.close(code, reason));
    } else {
      // Follows the handshake when that is answered. One that is not will be refused.
      this.#heldClose = { code, reason };
    }
  }

  // ---- output ----

  /** Returns what is booked for the whole session. */
  #booked(bytes: number): number {
    const { belongings } = this.#cell;
    belongings.unsentBytes += bytes - this.#bookedBytes;
    this.#bookedBytes = bytes;
    return belongings.unsentBytes;
  }

  /** As it is now: what clients have read since is in the books until they have read all. */
  #allUnsent(): number {
    const { belongings } = this.#cell;
    for (const socket of belongings.sockets) socket.#booked(socket.bufferedAmount);
    return belongings.unsentBytes;
  }

  #mayGo(): boolean {
    if (this.#held !== NOTHING || this.#handshake !== "done") return false;
    if (this.#cell.kind.host.lease.isOpen()) return true;
    this.#flushWhenOpen();
    return false;
  }

  #flushWhenOpen(): void {
    outside(() => void this.#cell.kind.host.lease.whenOpen().then(() => this.#flush()));
  }

  #flush(): void {
    if (!this.#cell.kind.host.lease.isOpen()) {
      this.#flushWhenOpen();
      return;
    }
    const held = this.#held;
    this.#dropHeld();
    for (const data of held) this.#client.send(data);
    if (this.#heldClose !== undefined) this.#client.close(this.#heldClose.code, this.#heldClose.reason);
    else if (this.#client.buffered === 0) this.#resolveDrain();
  }

  #closeClient(code: number, reason: string): void {
    if (this.#mayGo()) outside(() => this.#client.close(code, reason));
    else this.#heldClose = { code, reason };
    this.#end();
  }

  /** The socket has broken a limit: it is closed, and the session hears why. */
  #limit(code: number, reason: string, blame: "overloaded" | "body_too_large"): void {
    const error = new MeshError(blame, `socket ${this.id}: ${reason}`, { session: this.#cell.id.key });
    this.#closeClient(code, reason);
    this.#tell((server) => server.onError?.(this, error));
    this.#tell((server) => server.onClose?.(this, code, reason, false));
  }

  /** Not at once: session code may be in the middle of a broadcast. */
  #tell(code: (server: SessionServer) => unknown): void {
    queueMicrotask(() => void this.#cell.event(code));
  }

  #end(): void {
    this.#closed = true;
    this.#booked(0);
    this.#cell.belongings.removeSocket(this);
    this.#resolveDrain();
  }

  #dropHeld(): void {
    this.#held = NOTHING;
    this.#heldBytes = 0;
  }

  #resolveDrain(): void {
    const drained = this.#drained;
    if (drained !== undefined) turns.soon(() => drained.resolve());
    this.#drained = undefined;
  }

  #isTooBig(data: string | Uint8Array): boolean {
    const { maxMessageBytes } = this.#cell.kind.options;
    if (typeof data !== "string") return data.byteLength > maxMessageBytes;
    // A UTF-16 unit is at most 3 bytes of UTF-8; only a string that could be too long is worth counting.
    return data.length > maxMessageBytes / 3 && Buffer.byteLength(data) > maxMessageBytes;
  }
}

/** Shared by all sockets that hold nothing. Never written to. */
const NOTHING: (string | Uint8Array)[] = [];
