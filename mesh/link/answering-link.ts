// One link from a peer, on the side that accepted it: checks its Hello, asks the service whether to admit it, and then answers.

import { MeshError, parseWorkerId, type Frame, type WorkerId } from "#proto";
import { Answerer } from "./answerer.ts";
import { BatchWriter } from "./batch-writer.ts";
import { Inbox } from "./inbox.ts";
import type { Apart, LinkService } from "./port.ts";
import type { LinkStream } from "./stream.ts";

/** A peer's Hello must come within this, and the service must have decided within it, or its own patience is over anyway. */
const HELLO_TIMEOUT_MS = 2_000;
/** Frames that a peer may send behind its Hello before it is admitted. Ours send none. */
const HELD_FRAMES_MAX = 1_024;

export interface AnsweringLinkOptions {
  readonly self: WorkerId;
  readonly mesh: string;
  readonly service: LinkService;
  readonly apart: Apart;
  epoch(): number;
  /** The peer is admitted. */
  readonly onUp: (link: AnsweringLink) => void;
  readonly onClosed: (link: AnsweringLink) => void;
}

export class AnsweringLink {
  readonly #stream: LinkStream;
  readonly #options: AnsweringLinkOptions;
  readonly #writer: BatchWriter;
  readonly #inbox = new Inbox((frame) => this.#receive(frame));
  readonly #timer: NodeJS.Timeout;
  #held: Frame[] = [];
  #from: WorkerId | undefined;
  #answerer: Answerer | undefined;
  #closed = false;

  constructor(stream: LinkStream, options: AnsweringLinkOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#writer = new BatchWriter(stream, () =>
      this.close(new MeshError("overloaded", "the peer does not read what it is sent")),
    );
    this.#timer = setTimeout(
      () => this.close(new MeshError("timeout", "no hello, or no view with this peer, in time")),
      HELLO_TIMEOUT_MS,
    );
  }

  /** The peer, once it has said who it is. */
  get from(): WorkerId | undefined {
    return this.#from;
  }

  received(batch: readonly Frame[]): void {
    if (!this.#closed) this.#guard(() => this.#inbox.push(batch));
  }

  drained(): void {
    this.#writer.drained();
  }

  /** Tells the peer `reason` and ends its link. */
  close(reason: MeshError): void {
    this.#end(reason);
    this.#stream.close(reason);
  }

  /** The stream has ended by itself. */
  lost(reason: string): void {
    this.#end(
      new MeshError("cancelled", "the connection to the client's gateway broke", {
        cause: `worker ${this.#from ?? "unknown"}: ${reason}`,
      }),
    );
  }

  sweep(): void {
    if (this.#closed) return;
    this.#guard(() => this.#inbox.drain());
    this.#writer.flush();
  }

  #receive(frame: Frame): void {
    if (this.#closed) return;
    if (this.#answerer !== undefined) return this.#answerer.receive(frame);
    if (this.#from === undefined) return this.#hello(frame);
    if (this.#held.push(frame) > HELD_FRAMES_MAX)
      throw new MeshError("bad_frame", "a peer sent too much before it was admitted");
  }

  #hello(frame: Frame): void {
    if (frame.type !== "hello") throw new MeshError("bad_frame", "a peer sent a frame before its hello");
    const { from, to, mesh, epoch } = frame.hello;
    this.#from = parseWorkerId(from);
    if (mesh !== this.#options.mesh)
      return this.close(new MeshError("forbidden", `this worker is of mesh ${this.#options.mesh}`));
    if (to !== this.#options.self)
      return this.close(new MeshError("no_host", `this worker is ${this.#options.self}, not ${to.slice(0, 200)}`));
    this.#options.service.admit(this.#from, epoch).then(
      (admitted) =>
        admitted ? this.#admit(from) : this.close(new MeshError("forbidden", `${from} is not in this worker's view`)),
      (thrown: unknown) => this.close(MeshError.from(thrown)),
    );
  }

  #admit(from: string): void {
    if (this.#closed || this.#from === undefined) return;
    clearTimeout(this.#timer);
    const { self, mesh, service, apart } = this.#options;
    this.#writer.write({
      stream: 0,
      type: "hello",
      hello: { from: self, to: from, epoch: this.#options.epoch(), mesh },
    });
    this.#answerer = new Answerer(this.#from, service, this.#writer, apart);
    this.#options.onUp(this);
    const held = this.#held;
    this.#held = [];
    this.#guard(() => this.#inbox.push(held));
  }

  #end(reason: MeshError): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#inbox.clear();
    this.#held = [];
    this.#writer.abandon();
    this.#options.onClosed(this);
    this.#answerer?.broken(reason);
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
