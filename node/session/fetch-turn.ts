// A fetch: Request in, Response out.

import { MeshError } from "#proto";
import type { SessionReply } from "#mesh";
import { isResponse, replyOf, requestOf } from "../web/web.ts";
import { callerOf, runFor } from "./caller.ts";
import { isThenable } from "./current.ts";
import { ReplyBody } from "./reply-body.ts";
import { RequestTurn } from "./request-turn.ts";
import type { SessionServer } from "./server.ts";
import { requestRefusal } from "./unserved.ts";

export class FetchTurn extends RequestTurn<SessionReply> {
  protected override refusal(): MeshError | undefined {
    return requestRefusal(this.cell.kind, this.cell.id);
  }

  override enter(server: SessionServer): SessionReply | PromiseLike<unknown> {
    const { kind } = this.cell;
    const request = requestOf(this.call, this.signal, { bodyBytesMax: kind.options.maxBodyBytes });
    const caller = callerOf(this.call);
    const response: unknown =
      this.call.claims === undefined
        ? server.fetch?.(request, caller)
        : runFor(caller, () => server.fetch?.(request, caller));
    return isThenable(response) ? response : replyOf(response, kind.name);
  }

  protected override convert(value: unknown): SessionReply {
    return replyOf(value, this.cell.kind.name);
  }

  protected override answerIn(thrown: unknown): SessionReply | undefined {
    return isResponse(thrown) ? replyOf(thrown, this.cell.kind.name) : undefined;
  }

  protected override blame(error: unknown): MeshError {
    const { method, url } = this.call;
    return this.cell.eventFault(error, { hook: "fetch", method, url });
  }

  protected override send(reply: SessionReply): SessionReply {
    return reply.body instanceof ReadableStream ? { ...reply, body: this.#streamed(reply.body) } : reply;
  }

  protected override rejected(): void {}

  protected override discard(value: unknown): void {
    // A late response with a stream: its source must hear that nobody reads.
    if (!(value instanceof Response) || value.body === null || value.body.locked) return;
    value.body.cancel().catch((error: unknown) => this.blame(error));
  }

  #streamed(source: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const { cell, call } = this;
    const body = new ReplyBody(source, {
      lease: cell.kind.host.lease,
      enter: (fn) => cell.enter(fn),
      blame: (error) => this.blame(error),
      cancelled: () => this.abort(new MeshError("cancelled", "the client went away", { session: cell.id.key })),
      over: () => {
        call.onCancel(undefined);
        cell.belongings.removeUnfinished(body);
        cell.endWait();
      },
    });
    cell.beginWait();
    cell.belongings.addUnfinished(body);
    call.onCancel((reason) => {
      body.fail(reason);
      this.abort(reason);
    });
    return body.stream;
  }
}
