// Two kinds of session: a counter that answers requests, and a chat room that passes messages on.

import { SessionServer, defineMesh, type SessionSocket } from "sessionmesh";

export class Counter extends SessionServer {
  count = 0;

  override fetch(): Response {
    const { id, node, worker, fence } = this.ctx;
    return Response.json({ session: id.name, count: ++this.count, node, worker, fence });
  }
}

export class Chat extends SessionServer {
  override onConnect(socket: SessionSocket): void {
    this.broadcast(`${socket.id} joined`);
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    this.broadcast(message, { except: socket });
  }

  override onClose(socket: SessionSocket): void {
    this.broadcast(`${socket.id} left`);
  }
}

export default defineMesh({ sessions: { counter: Counter, chat: Chat } });
