// A request that came over a link, on the side of the session's host: Open became a SessionCall, what the service answers becomes Head
// and Data, Moved or Reset.

import { MeshError, parseSessionKey, parseWorkerId, type Frame, type OpenFrame, type WorkerId } from "#proto";
import { SessionCall, type Body, type SessionReply } from "../call.ts";
import { BodySender } from "./body-sender.ts";
import {
  INLINE_BYTES_MAX,
  NO_BYTES,
  errorOf,
  misplaced,
  ownBytes,
  resetFrame,
  type Exchange,
  type ExchangeLink,
} from "./exchange.ts";
import type { Arrival, CallOptions, LinkService, Served } from "./port.ts";
import { ReceivedBody } from "./received-body.ts";
import { SendWindow } from "./window.ts";

/** Throws `bad_name` or `bad_frame`. */
export function callOf(open: OpenFrame, body: Uint8Array | ReadableStream<Uint8Array> | null): SessionCall {
  return new SessionCall({
    id: parseSessionKey(open.key),
    method: open.method,
    url: open.url,
    headers: open.headers,
    body,
    timeoutMs: open.timeoutMs,
    onlyIfActive: open.onlyIfActive,
    ip: open.ip,
    claims: open.claims.byteLength === 0 ? undefined : ownBytes(open.claims),
    protocol: open.protocol,
  });
}

/** Throws `bad_frame`. */
export function optionsOf(open: OpenFrame): CallOptions {
  return { epoch: open.epoch, stale: open.stale === "" ? undefined : parseWorkerId(open.stale) };
}

export function movedFrame(
  stream: number,
  moved: { readonly worker: WorkerId | undefined; readonly epoch: number },
): Frame {
  return { stream, type: "moved", moved: { worker: moved.worker ?? "", epoch: moved.epoch } };
}

export class ServedCall implements Exchange, Arrival {
  queued = false;
  readonly #link: ExchangeLink;
  readonly #stream: number;
  readonly #call: SessionCall;
  readonly #options: CallOptions;
  readonly #service: LinkService;
  readonly #from: WorkerId;
  readonly #upload: ReceivedBody | undefined;
  #reply: BodySender | undefined;
  #over = false;

  /** Throws MeshError when the request is malformed. */
  constructor(link: ExchangeLink, stream: number, open: OpenFrame, service: LinkService, from: WorkerId) {
    this.#link = link;
    this.#stream = stream;
    this.#service = service;
    this.#from = from;
    this.#options = optionsOf(open);
    this.#upload = open.streamed
      ? new ReceivedBody({ credit: (bytes) => this.#credit(bytes), cancelled: () => {} }, true)
      : undefined;
    this.#call = callOf(open, this.#upload?.stream ?? (open.body.byteLength > 0 ? ownBytes(open.body) : null));
  }

  resume(): void {
    // Its asker may have given up before its turn came.
    if (this.#over) return;
    let served: ReturnType<LinkService["call"]>;
    try {
      served = this.#service.call(this.#from, this.#call, this.#options);
    } catch (thrown) {
      this.#failed(thrown);
      return;
    }
    if (!(served instanceof Promise)) {
      this.#served(served);
      return;
    }
    served.then(
      (result) => this.#served(result),
      (thrown: unknown) => this.#failed(thrown),
    );
  }

  torn(error: unknown): void {
    this.#failed(error);
  }

  receive(frame: Frame): void {
    if (this.#over) return;
    switch (frame.type) {
      case "data":
        if (this.#upload === undefined || this.#upload.ended) throw misplaced(frame);
        return this.#upload.data(frame.data.bytes, frame.data.end);
      case "credit":
        // Credit for a body that is sent inside Head would be for nothing.
        if (this.#reply === undefined) throw misplaced(frame);
        return this.#reply.credited(frame.credit.bytes);
      case "reset":
        return this.broken(errorOf(frame.reset));
      default:
        throw misplaced(frame);
    }
  }

  /** The asker is gone or wants nothing more. */
  broken(reason: MeshError): void {
    if (this.#over) return;
    this.#finish(reason);
    this.#call.cancel(reason);
    this.#reply?.stop(reason);
  }

  #served(served: Served<SessionReply>): void {
    if (this.#over) {
      if (served.status === "reply" && served.reply.body instanceof ReadableStream) {
        // Nobody waits for it; what the source says about that concerns nobody either.
        served.reply.body.cancel(this.#call.cancelled).catch(() => {});
      }
      return;
    }
    if (served.status === "moved") {
      this.#link.write(movedFrame(this.#stream, served));
      return this.#finish();
    }
    const { status, statusText, headers, body } = served.reply;
    const source = sourceOf(body);
    const inline = source instanceof Uint8Array && source.byteLength <= INLINE_BYTES_MAX;
    this.#link.write({
      stream: this.#stream,
      type: "head",
      head: { status, statusText, headers, body: inline ? source : NO_BYTES, streamed: !inline },
    });
    if (inline) return this.#finish();
    this.#reply = new BodySender(this.#link, this.#stream, source, new SendWindow(), {
      sent: () => this.#finish(),
      failed: (error) => this.#failed(error),
    });
    this.#reply.start();
  }

  #failed(thrown: unknown): void {
    if (this.#over) return;
    const error = MeshError.from(thrown);
    this.#link.write(resetFrame(this.#stream, error));
    this.#finish(error);
  }

  /** `reason`: what a reader of the request's body gets in place of what has not arrived. */
  #finish(reason?: MeshError): void {
    this.#over = true;
    this.#link.finished(this.#stream);
    if (this.#upload === undefined || this.#upload.ended) return;
    this.#upload.fail(reason ?? new MeshError("cancelled", "the response was complete before the body of the request"));
  }

  #credit(bytes: number): void {
    if (!this.#over) this.#link.write({ stream: this.#stream, type: "credit", credit: { bytes } });
  }
}

function sourceOf(body: Body): Uint8Array | ReadableStream<Uint8Array> {
  if (body === null) return NO_BYTES;
  return typeof body === "string" ? Buffer.from(body) : body;
}
