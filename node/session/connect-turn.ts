// The handshake of a socket. The client hears "accepted" when `onConnect` has settled; what was sent in it follows.

import { MeshError } from "#proto";
import type { ClientEnd, ConnectReply, SessionCall } from "#mesh";
import { requestOf } from "../web/web.ts";
import { CellSocket } from "./cell-socket.ts";
import type { Cell } from "./cell.ts";
import { isThenable } from "./current.ts";
import { RequestTurn } from "./request-turn.ts";
import type { SessionServer } from "./server.ts";
import { idRefusal } from "./socket-id.ts";

/** What the session sees of a client that left during its handshake: "closed abnormally". */
const LEFT = 1006;

export class ConnectTurn extends RequestTurn<ConnectReply> {
  readonly #socket: CellSocket;

  constructor(cell: Cell, call: SessionCall, client: ClientEnd) {
    super(cell, call);
    this.#socket = new CellSocket(cell, client, call);
  }

  protected override refusal(server: SessionServer): MeshError | undefined {
    const { kind, id, belongings } = this.cell;
    const open = belongings.sockets.size;
    if (server.onConnect === undefined && server.onMessage === undefined) {
      const why = `sessions of kind ${kind.name} take no sockets: add onConnect() or onMessage() to ${kind.server.name}`;
      return new MeshError("bad_upgrade", why, { session: id.key });
    }
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
    const result: unknown = this.#socket.runForClient(() => server.onConnect?.(this.#socket, request));
    return isThenable(result) ? result : this.convert();
  }

  protected override convert(): ConnectReply {
    return { status: "accepted", end: this.#socket };
  }

  protected override send(reply: ConnectReply): ConnectReply {
    this.#socket.accepted();
    return reply;
  }

  protected override rejected(): void {
    this.#socket.closed(LEFT, "", false);
  }

  protected override discard(): void {}
}
