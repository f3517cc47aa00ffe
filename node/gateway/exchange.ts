// One HTTP request whose answer was not there at once, or is streamed. It waits for the reply, sends it at the client's pace, and
// tells the session when the client goes. Requests that are answered at once never make one.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { MeshError, messageOf } from "#proto";
import type { Rostered, SessionReply } from "#mesh";
import type { Log } from "../log.ts";
import { leavesUnread, lingerOnClose } from "./linger.ts";
import { problemReply } from "./problem.ts";
import type { RequestBody } from "./request-body.ts";
import { declaredBytesOf, discard, pumpBody, writeReply } from "./response-writer.ts";

/** A host enforces the deadline of a session's answer itself; the gateway steps in for one that cannot. */
export const TIMEOUT_SLACK_MS = 1_000;
/**
 * How long a client may neither send the body that a session waits for nor read the answer that it asked for. Too small cuts
 * mobile clients off; too large lets a few slow clients hold sessions.
 */
export const STALL_MS = 60_000;

/** Something that waits and may wait too long; the gateway looks at all of them in one sweep. */
export interface Waiting extends Rostered {
  readonly connection: Duplex;
  sweep(nowMs: number): void;
  /** The gateway's time is up. */
  destroy(): void;
}

export interface ExchangeOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: RequestBody | undefined;
  readonly timeoutMs: number;
  readonly log: Log;
  /** True once the gateway closes: connections are not kept. */
  readonly closing: () => boolean;
  /** The exchange needs no sweep any more. */
  readonly over: (exchange: Exchange) => void;
}

export class Exchange implements Waiting {
  place = -1;
  readonly #options: ExchangeOptions;
  #deadlineMs: number;
  /** Tells whoever works on the answer that nobody wants it. */
  #cancel: ((reason: MeshError) => void) | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #answered = false;
  #over = false;
  #drainingSinceMs: number | undefined;
  #wake: (() => void) | undefined;
  #signal: AbortController | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#deadlineMs = performance.now() + options.timeoutMs + TIMEOUT_SLACK_MS;
    const { response } = options;
    response.on("close", () => this.#closed());
  }

  get connection(): Duplex {
    return this.#options.request.socket;
  }

  onCancel(cancel: (reason: MeshError) => void): void {
    this.#cancel = cancel;
  }

  /** From now on it waits for somebody else, with a time limit of its own. Throws when its client has gone. */
  await(timeoutMs: number, cancel: (reason: MeshError) => void): void {
    if (this.#over || this.#answered) throw clientGone();
    this.#deadlineMs = performance.now() + timeoutMs + TIMEOUT_SLACK_MS;
    this.#cancel = cancel;
  }

  /** Aborted when the client goes away before it was answered. */
  readonly signal = (): AbortSignal => {
    this.#signal ??= new AbortController();
    if (this.#over) this.#signal.abort(clientGone());
    return this.#signal.signal;
  };

  answerWith(promise: Promise<SessionReply>): void {
    promise.then(
      (reply) => this.answer(reply),
      (error: unknown) => this.fail(error),
    );
  }

  answer(reply: SessionReply): void {
    const { request, response, body, closing } = this.#options;
    if (this.#over || this.#answered) {
      if (reply.body instanceof ReadableStream) discard(reply.body);
      return;
    }
    const unread = leavesUnread(request, body);
    let whole: boolean;
    try {
      whole = writeReply(response, request.method ?? "GET", reply, unread || closing());
    } catch (error) {
      if (reply.body instanceof ReadableStream) discard(reply.body);
      this.fail(invalidHead(error));
      return;
    }
    this.#answered = true;
    if (unread) lingerOnClose(request);
    if (!whole && reply.body instanceof ReadableStream) void this.#stream(reply.body, declaredBytesOf(reply.headers));
  }

  fail(thrown: unknown): void {
    if (this.#over || this.#answered) return;
    const { body, log } = this.#options;
    if (!(thrown instanceof MeshError)) log.error("a request failed in the gateway", { error: thrown });
    // The message of a foreign error may tell what a client should not know.
    const error =
      thrown instanceof MeshError
        ? thrown
        : new MeshError("internal", "the request failed; the worker's log has the reason");
    // Session code may have turned the error that it got while reading into any other.
    this.answer(problemReply(body?.excess ?? error));
  }

  sweep(nowMs: number): void {
    const { body, response } = this.#options;
    if (!this.#answered && nowMs > this.#deadlineMs) {
      const error = new MeshError("timeout", "the session did not answer in time");
      this.#abandon(error);
      this.fail(error);
    }
    const stalledSince = this.#drainingSinceMs ?? body?.waitingSinceMs;
    if (stalledSince === undefined || nowMs - stalledSince < STALL_MS) return;
    if (this.#drainingSinceMs === undefined) body?.giveUp();
    response.destroy();
  }

  destroy(): void {
    this.#options.response.destroy();
  }

  async #stream(source: ReadableStream<Uint8Array>, declaredBytes: number | undefined): Promise<void> {
    const { response, log } = this.#options;
    response.on("drain", () => this.#drained());
    const reader = source.getReader();
    this.#reader = reader;
    const pace = {
      drained: () => this.#waitForDrain(),
      isGone: () => this.#over,
    };
    try {
      await pumpBody(response, reader, declaredBytes, pace);
    } catch (error) {
      // Never ended as if it were complete: the client must see that the answer is broken.
      log.debug("a response broke off", { error });
      reader.cancel(error).catch(() => undefined);
      response.destroy();
    }
  }

  #waitForDrain(): Promise<void> {
    if (this.#over) return Promise.resolve();
    this.#drainingSinceMs = performance.now();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #drained(): void {
    this.#drainingSinceMs = undefined;
    this.#wake?.();
    this.#wake = undefined;
  }

  #closed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#drained();
    this.#options.body?.abandon();
    // `close` follows `finish` as well; only the other way round has the client gone first.
    if (!this.#options.response.writableFinished) this.#abandon(clientGone());
    this.#options.over(this);
  }

  #abandon(reason: MeshError): void {
    this.#cancel?.(reason);
    this.#cancel = undefined;
    this.#signal?.abort(reason);
    this.#reader?.cancel(reason).catch(() => undefined);
  }
}

/** A status or header of a session's response that Node refuses to send. */
export function invalidHead(cause: unknown): MeshError {
  return new MeshError("handler_failed", `the session's response cannot be sent: ${messageOf(cause)}`, { cause });
}

function clientGone(): MeshError {
  return new MeshError("cancelled", "the client went away");
}
