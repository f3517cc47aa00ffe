// One link to a peer, on the side that made it: connects, exchanges Hello, and then lets the Asker ask. Nothing is sent behind our
// Hello before the peer's has come: a peer that admits us, serves a call and dies with its Hello unsent would else look as if it
// had never been reached, and the call would run twice.

import { MeshError, type Frame, type Member, type WorkerId } from "#proto";
import type { LogLine } from "../log.ts";
import { Asker } from "./asker.ts";
import { BatchWriter } from "./batch-writer.ts";
import { Inbox } from "./inbox.ts";
import type { LinkStream, LinkStreamEvents } from "./stream.ts";

/** From the first use until the peer's Hello. A peer on the way out, or behind a dead network, must not hold calls longer. */
const CONNECT_TIMEOUT_MS = 2_000;

export interface AskingLinkOptions {
  readonly self: WorkerId;
  readonly mesh: string;
  readonly epoch: number;
  readonly to: Member;
  readonly dial: (to: Member, events: LinkStreamEvents) => LinkStream;
  readonly log?: LogLine | undefined;
  /** The link is of no use any more. */
  readonly onClosed: () => void;
}

export class AskingLink {
  readonly asker: Asker;
  readonly #options: AskingLinkOptions;
  readonly #stream: LinkStream;
  readonly #writer: BatchWriter;
  readonly #inbox = new Inbox((frame) => this.#receive(frame));
  readonly #timer: NodeJS.Timeout;
  readonly #connected = Promise.withResolvers<MeshError | undefined>();
  #state: "connecting" | "up" | "closed" = "connecting";

  constructor(options: AskingLinkOptions) {
    const { self, mesh, epoch, to } = options;
    this.#options = options;
    this.#stream = options.dial(to, {
      received: (batch) => this.#received(batch),
      drained: () => this.#writer.drained(),
      closed: (reason) => this.#lost(reason),
    });
    this.#writer = new BatchWriter(this.#stream, () => {
      this.#break("it does not read what it is sent");
    });
    this.asker = new Asker(this.#writer);
    this.#stream.write([{ stream: 0, type: "hello", hello: { from: self, to: to.id, epoch, mesh } }]);
    this.#timer = setTimeout(() => this.#lost(`no answer within ${CONNECT_TIMEOUT_MS} ms`), CONNECT_TIMEOUT_MS);
  }

  get isUp(): boolean {
    return this.#state === "up";
  }

  /** Resolves once: undefined when the link is up, or why it never will be. */
  get connected(): Promise<MeshError | undefined> {
    return this.#connected.promise;
  }

  close(reason: MeshError): void {
    if (this.#state === "closed") return;
    const connecting = this.#state === "connecting";
    this.#state = "closed";
    clearTimeout(this.#timer);
    this.#stream.close(reason);
    this.#inbox.clear();
    const unsent = this.#writer.abandon();
    this.#options.onClosed();
    this.asker.broken(reason, unsent);
    if (connecting) this.#connected.resolve(reason);
  }

  sweep(nowMs: number): void {
    if (this.#state !== "up") return;
    this.#guard(() => this.#inbox.drain());
    this.#writer.flush();
    this.asker.sweep(nowMs);
  }

  #received(batch: readonly Frame[]): void {
    if (this.#state !== "closed") this.#guard(() => this.#inbox.push(batch));
  }

  #receive(frame: Frame): void {
    if (this.#state === "up") return this.asker.receive(frame);
    if (frame.type !== "hello") throw new MeshError("bad_frame", "a peer sent a frame before its hello");
    const { from, to, mesh } = frame.hello;
    if (from !== this.#options.to.id || to !== this.#options.self || mesh !== this.#options.mesh) {
      throw new MeshError("bad_frame", `another worker answers at the address of ${this.#options.to.id}`);
    }
    this.#state = "up";
    clearTimeout(this.#timer);
    this.#connected.resolve(undefined);
  }

  #lost(reason: string): void {
    if (this.#state === "up") this.#break(reason);
    else this.close(new MeshError("no_host", `the worker ${this.#options.to.id} cannot be reached: ${reason}`));
  }

  /** Clients hear that the host was lost; which worker that was, and why, is for the log. */
  #break(reason: string): void {
    const { to, log } = this.#options;
    if (this.#state !== "closed" && !this.asker.idle)
      log?.("warn", "a link broke with requests or sockets under way", { to: to.id, reason });
    const cause = new Error(`the link to worker ${to.id} broke: ${reason}`);
    this.close(new MeshError("session_lost", "the connection to the session's host broke", { cause }));
  }

  /** A peer that breaks the protocol costs its own link; any other error is a bug of ours and must be heard. */
  #guard(handle: () => void): void {
    try {
      handle();
    } catch (thrown) {
      if (!(thrown instanceof MeshError) || thrown.code !== "bad_frame") throw thrown;
      this.close(thrown);
    }
  }
}
