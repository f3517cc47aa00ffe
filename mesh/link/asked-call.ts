// A request that this worker sent over a link: Open goes out, Head, Moved or Reset decides the outcome, Data flows both ways.
// A streamed body is first read when the peer asks for it, so a call that was answered with `moved` can be sent again.

import { MeshError, parseWorkerId, type Frame, type HeadFrame } from "#proto";
import type { SessionCall, SessionReply } from "../call.ts";
import type { AskerLink, AwaitingHead } from "./asker.ts";
import { BodySender } from "./body-sender.ts";
import {
  INLINE_BYTES_MAX,
  NO_BYTES,
  errorOf,
  misplaced,
  openFrame,
  ownBody,
  resetFrame,
  type Exchange,
} from "./exchange.ts";
import type { CallOptions, CallOutcome } from "./port.ts";
import { ReceivedBody } from "./received-body.ts";
import { SendWindow, WINDOW_BYTES } from "./window.ts";

/** On top of the call's own time-out, which the host enforces: only a host that hangs is caught here. */
export const HEAD_GRACE_MS = 5_000;

export class AskedCall implements Exchange, AwaitingHead {
  place = -1;
  readonly #link: AskerLink;
  readonly #stream: number;
  readonly #call: SessionCall;
  readonly #resolve: (outcome: CallOutcome<SessionReply>) => void;
  readonly #headByMs: number;
  #upload: BodySender | undefined;
  #body: ReceivedBody | undefined;
  #headed = false;
  #over = false;

  constructor(
    link: AskerLink,
    stream: number,
    call: SessionCall,
    resolve: (outcome: CallOutcome<SessionReply>) => void,
  ) {
    this.#link = link;
    this.#stream = stream;
    this.#call = call;
    this.#resolve = resolve;
    this.#headByMs = performance.now() + call.timeoutMs + HEAD_GRACE_MS;
  }

  start(options: CallOptions): void {
    const { body } = this.#call;
    const inline =
      body === null ? NO_BYTES : body instanceof Uint8Array && body.byteLength <= INLINE_BYTES_MAX ? body : undefined;
    if (inline === undefined && body !== null) {
      // Shut until the first credit: it says that the peer serves the call and reads its body.
      this.#upload = new BodySender(this.#link, this.#stream, body, new SendWindow(WINDOW_BYTES), {
        sent: () => {},
        failed: (error) => this.#abort(MeshError.from(error, "cancelled")),
      });
    }
    this.#link.write(
      openFrame(this.#stream, this.#call, options, inline ?? NO_BYTES, {
        streamed: inline === undefined,
        upgrade: false,
      }),
    );
    this.#link.awaitHead(this);
    this.#call.onCancel((reason) => this.#abort(reason));
  }

  receive(frame: Frame): void {
    if (this.#over) return;
    switch (frame.type) {
      case "head":
        if (this.#headed) throw misplaced(frame);
        return this.#head(frame.head);
      case "moved":
        if (this.#headed) throw misplaced(frame);
        return this.#moved(frame.moved);
      case "data":
        if (this.#body === undefined) throw misplaced(frame);
        this.#body.data(frame.data.bytes, frame.data.end);
        if (frame.data.end) this.#finish();
        return;
      case "credit":
        if (this.#upload === undefined) throw misplaced(frame);
        return this.#upload.credited(frame.credit.bytes);
      case "reset":
        return this.#fail(errorOf(frame.reset, this.#call.id.key));
      default:
        throw misplaced(frame);
    }
  }

  broken(reason: MeshError, unopened: boolean): void {
    if (unopened && !this.#over) this.#settle({ status: "unreached", error: reason });
    this.#fail(reason);
  }

  sweep(nowMs: number): void {
    if (nowMs > this.#headByMs)
      this.#abort(
        new MeshError("timeout", "the session's host did not answer in time", { session: this.#call.id.key }),
      );
  }

  #head(head: HeadFrame): void {
    let body: SessionReply["body"] = null;
    if (head.streamed) {
      this.#body = new ReceivedBody(
        {
          credit: (bytes) => this.#link.write({ stream: this.#stream, type: "credit", credit: { bytes } }),
          cancelled: (reason) => this.#abort(MeshError.from(reason, "cancelled")),
        },
        false,
      );
      body = this.#body.stream;
    } else body = ownBody(head.body);
    const { status, statusText, headers } = head;
    this.#settle({ status: "reply", reply: { status, statusText, headers, body } });
    if (!head.streamed) this.#finish();
  }

  #moved(moved: { readonly worker: string; readonly epoch: number }): void {
    const worker = moved.worker === "" ? undefined : parseWorkerId(moved.worker);
    if (this.#upload?.started === true) {
      // The body is not whole any more, so the promise of `moved` does not hold: it cannot be sent elsewhere.
      throw new MeshError("bad_frame", "a peer answered with `moved` after it had read the body");
    }
    this.#upload = undefined;
    this.#settle({ status: "moved", worker, epoch: moved.epoch });
    this.#finish();
  }

  /** Ends the exchange from our side. */
  #abort(error: MeshError): void {
    if (this.#over) return;
    this.#link.write(resetFrame(this.#stream, error));
    this.#fail(error);
  }

  #fail(error: MeshError): void {
    if (this.#over) return;
    this.#body?.fail(error);
    this.#settle({ status: "failed", error });
    this.#finish();
  }

  #settle(outcome: CallOutcome<SessionReply>): void {
    if (this.#headed) return;
    this.#headed = true;
    this.#link.headed(this);
    this.#resolve(outcome);
  }

  #finish(): void {
    this.#over = true;
    this.#call.onCancel(undefined);
    this.#link.finished(this.#stream);
    // A body that was never asked for stays whole and unlocked: its owner decides what becomes of it.
    if (this.#upload?.started === true)
      this.#upload.stop(new MeshError("cancelled", "the session does not read the rest of the body"));
  }
}
