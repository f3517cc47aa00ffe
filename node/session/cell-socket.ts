// A socket of one session: SessionSocket towards session code, SessionEnd towards the gateway. Output waits while the
// handshake is not answered yet or the node's lease is closed; a client that reads too slowly is closed, so that what a session buffers is bounded.

import { MeshError, type Claims, type ErrorCode } from "#proto";
import type { ClientEnd, SessionCall, SessionEnd } from "#mesh";
import { callerOf, runFor, type Caller } from "./caller.ts";
import type { Cell } from "./cell.ts";
import { checkClose } from "./close-code.ts";
import { outside } from "./current.ts";
import type { EventHook } from "./error-origin.ts";
import type { SessionServer } from "./server.ts";
import { socketIdOf } from "./socket-id.ts";
import { bytesOf, outgoing, sizeOf, type SocketMessage } from "./socket-message.ts";
import type { SessionSocket } from "./socket.ts";
import { turns } from "./turns.ts";

/** Close codes of RFC 6455 and its registry. */
const REFUSED = 1008;
const TOO_BIG = 1009;
const FAILED = 1011;
const TRY_AGAIN_LATER = 1013;

/**
 * What may wait for all clients of one session together. Too small: a message to a large room closes the slower half. Too large: a
 * room of clients that do not read fills the worker, though each stays below its own bound.
 */
const UNSENT_BYTES_MAX = 128 * 1024 * 1024;

/** For what a client is to blame for; all else is FAILED. */
const closeCodes: { readonly [Code in ErrorCode]?: number } = {
  bad_request: REFUSED,
  unauthorized: REFUSED,
  forbidden: REFUSED,
  not_found: REFUSED,
  method_not_allowed: REFUSED,
  body_too_large: TOO_BIG,
};

type Handshake =
  /** Not answered. */
  | "offered"
  /** Answered, but the answer may not have gone out before our next words. */
  | "accepted"
  | "done";

export class CellSocket implements SessionSocket, SessionEnd {
  readonly url: string;
  readonly ip: string | undefined;
  readonly protocol: string;
  tags: readonly string[] = [];
  attachment: unknown = undefined;
  readonly #cell: Cell;
  readonly #client: ClientEnd;
  /** Only of who has claims. */
  readonly #caller: Caller | undefined;
  #id: string | undefined = undefined;
  #handshake: Handshake = "offered";
  /** For session code; what it had sent before may still be held. */
  #closed = false;
  /** Invariant: `#heldBytes` is their size, bounded by `maxBufferedBytes` and one message. A blob that is first is being read. */
  #held: (string | Uint8Array | Blob)[] = NOTHING;
  #heldBytes = 0;
  /** Its part of what the session has booked as unsent. */
  #bookedBytes = 0;
  #heldClose: { readonly code: number; readonly reason: string } | undefined = undefined;
  #drained: PromiseWithResolvers<void> | undefined = undefined;

  constructor(cell: Cell, client: ClientEnd, call: SessionCall) {
    this.#cell = cell;
    this.#client = client;
    this.url = call.url;
    this.ip = call.ip === "" ? undefined : call.ip;
    this.protocol = call.protocol;
    this.#caller = call.claims === undefined ? undefined : callerOf(call);
  }

  // ---- towards session code ----

  get id(): string {
    return (this.#id ??= socketIdOf(this.url));
  }

  get claims(): Claims | undefined {
    return this.#caller?.claims;
  }

  get bufferedAmount(): number {
    return this.#heldBytes + this.#client.buffered;
  }

  send(message: SocketMessage): void {
    const data = outgoing(message);
    if (this.#closed) return;
    if (!(data instanceof Blob) && this.#mayGo()) {
      outside(() => this.#client.send(data));
    } else {
      const isNext = data instanceof Blob && this.#mayGo();
      if (this.#held === NOTHING) this.#held = [];
      this.#held.push(data);
      this.#heldBytes += sizeOf(data);
      if (isNext) outside(() => this.#flush());
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
    checkClose(code, reason);
    if (this.#closed) return;
    this.#closeClient(code, reason);
    this.#tellClosed(code, reason, true);
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
    return this.#event((server) => (this.#closed ? undefined : server.onMessage?.(this, data)), "onMessage");
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
    void this.#event((server) => server.onClose?.(this, code, reason, clean), "onClose");
  }

  // ---- towards its cell ----

  /** Runs `fn`, session code, with the client's claims in force. */
  runForClient<Result>(fn: () => Result): Result {
    return runFor(this.#caller, fn);
  }

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

  /** The session answers the handshake with something else: nobody will ever hear what was sent. No hook is called for it. */
  refused(): void {
    this.#heldClose = undefined;
    this.#dropHeld();
    if (!this.#closed) this.#end();
  }

  /** An error escaped from a hook that was called for this socket, and the session goes on. */
  failed(hook: EventHook, error: MeshError): void {
    if (hook === "onConnect") this.refused();
    else if (hook === "onMessage" && !this.#closed) {
      const code = closeCodes[error.code] ?? FAILED;
      this.#closeClient(code, error.message);
      this.#tellClosed(code, error.message, false);
    }
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
    for (const [at, data] of held.entries()) {
      if (data instanceof Blob) {
        this.#held = held.slice(at);
        this.#heldBytes = this.#held.reduce((bytes, one) => bytes + sizeOf(one), 0);
        this.#read(data);
        return;
      }
      this.#client.send(data);
    }
    this.#dropHeld();
    if (this.#heldClose !== undefined) this.#client.close(this.#heldClose.code, this.#heldClose.reason);
    else if (this.#client.buffered === 0) this.#resolveDrain();
  }

  /** The first of what is held: the rest waits for it, so that messages keep their order. */
  #read(blob: Blob): void {
    const held = this.#held;
    bytesOf(blob).then(
      (bytes) => {
        if (this.#held !== held) return;
        held[0] = bytes;
        this.#flush();
      },
      (error: unknown) => {
        if (this.#held !== held) return;
        this.#dropHeld();
        this.#limit(FAILED, "a blob could not be read", "handler_failed", error);
      },
    );
  }

  #closeClient(code: number, reason: string): void {
    if (this.#mayGo()) outside(() => this.#client.close(code, reason));
    else this.#heldClose = { code, reason };
    this.#end();
  }

  /** The socket has broken a limit: it is closed, and the session hears why. */
  #limit(
    code: number,
    reason: string,
    blame: "overloaded" | "body_too_large" | "handler_failed",
    cause?: unknown,
  ): void {
    const error = new MeshError(blame, `socket ${this.id}: ${reason}`, { session: this.#cell.id.key, cause });
    this.#closeClient(code, reason);
    const origin = { hook: "limit", method: "GET", url: this.url } as const;
    this.#tell((server) => server.onError?.(this, error, origin), "onError");
    this.#tellClosed(code, reason, false);
  }

  #tellClosed(code: number, reason: string, clean: boolean): void {
    this.#tell((server) => server.onClose?.(this, code, reason, clean), "onClose");
  }

  /** Not at once: session code may be in the middle of a broadcast. */
  #tell(code: (server: SessionServer) => unknown, hook: EventHook): void {
    queueMicrotask(() => void this.#event(code, hook));
  }

  /** Session code on behalf of the socket's client. */
  #event(code: (server: SessionServer) => unknown, hook: EventHook): void | Promise<void> {
    const caller = this.#caller;
    return this.#cell.event(caller === undefined ? code : (server) => runFor(caller, () => code(server)), this, hook);
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
const NOTHING: (string | Uint8Array | Blob)[] = [];
