// The handshake of a socket. The client hears "accepted" when `onConnect` has settled; what was sent in it follows.

import { MeshError } from "#proto";
import type { ClientEnd, ConnectReply, SessionCall } from "#mesh";
import { isResponse, requestOf } from "../web/web.ts";
import { CellSocket } from "./cell-socket.ts";
import type { Cell } from "./cell.ts";
import { connectAnswerOf } from "./connect-answer.ts";
import { isThenable } from "./current.ts";
import { RequestTurn } from "./request-turn.ts";
import type { SessionServer } from "./server.ts";
import { idRefusal } from "./socket-id.ts";
import { socketRefusal } from "./unserved.ts";

/** What the session sees of a client that left during its handshake: "closed abnormally". */
const LEFT = 1006;

export class ConnectTurn extends RequestTurn<ConnectReply> {
  readonly #socket: CellSocket;
  #answer: ConnectReply;

  constructor(cell: Cell, call: SessionCall, client: ClientEnd) {
    super(cell, call);
    this.#socket = new CellSocket(cell, client, call);
    this.#answer = { status: "accepted", end: this.#socket };
  }

  protected override refusal(): MeshError | undefined {
    const { kind, id, belongings } = this.cell;
    const open = belongings.sockets.size;
    const unserved = socketRefusal(kind, id);
    if (unserved !== undefined) return unserved;
    if (open < kind.options.maxSockets) return idRefusal(this.call.url);
    return new MeshError("overloaded", `${id.key} has ${open} sockets, which is all that maxSockets allows`, {
      session: id.key,
      retryAfterMs: 1_000,
    });
  }

  override enter(server: SessionServer): ConnectReply | PromiseLike<unknown> {
    // Open for session code from now on, so that a broadcast in `onConnect` reaches it too.
    this.cell.belongings.addSocket(this.#socket);
    const request = requestOf(this.call, this.signal, { bodyBytesMax: this.cell.kind.options.maxBodyBytes });
    let result: unknown;
    try {
      result = this.#socket.runForClient(() => server.onConnect?.(this.#socket, request));
    } catch (thrown) {
      if (!isResponse(thrown)) throw thrown;
      result = thrown;
    }
    if (isThenable(result)) return this.#whenSettled(result);
    return this.#answerWith(result);
  }

  async #whenSettled(connecting: PromiseLike<unknown>): Promise<void> {
    let result: unknown;
    try {
      result = await connecting;
    } catch (thrown) {
      if (!isResponse(thrown)) throw thrown;
      result = thrown;
    }
    await this.#answerWith(result);
  }

  /** A Response refuses the socket, whether it was thrown or, against the hook's type, returned: never is it mistaken for a yes. */
  #answerWith(result: unknown): ConnectReply | Promise<ConnectReply> {
    if (!isResponse(result)) return this.#answer;
    const answer = connectAnswerOf(result, this.cell.kind.name);
    if (!(answer instanceof Promise)) return (this.#answer = answer);
    return answer.then((whole) => (this.#answer = whole));
  }

  protected override convert(): ConnectReply {
    return this.#answer;
  }

  protected override answerIn(): undefined {
    return undefined;
  }

  protected override blame(error: unknown): MeshError {
    const { method, url } = this.call;
    return this.cell.eventFault(error, { hook: "onConnect", method, url }, this.#socket);
  }

  protected override send(reply: ConnectReply): ConnectReply {
    if (reply.status === "accepted") this.#socket.accepted();
    else this.#socket.refused();
    return reply;
  }

  protected override rejected(): void {
    this.#socket.closed(LEFT, "", false);
  }

  protected override discard(): void {}
}
