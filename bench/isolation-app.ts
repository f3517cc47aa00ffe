// The application of isolation.ts: the same session in each isolation class.

import { SessionServer, defineMesh, type SessionOptions, type SessionSocket } from "sessionmesh";

class Counter extends SessionServer {
  static readonly options: SessionOptions = { idleMs: Infinity };
  count = 0;
  override fetch(_request: Request): Response {
    return Response.json({ count: ++this.count, pid: process.pid });
  }
  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    socket.send(message);
  }
}

class ThreadCounter extends Counter {
  static override readonly options: SessionOptions = { idleMs: Infinity, isolation: "thread" };
}

class ProcessCounter extends Counter {
  static override readonly options: SessionOptions = { idleMs: Infinity, isolation: "process" };
}

export default defineMesh({ sessions: { shared: Counter, thread: ThreadCounter, process: ProcessCounter } });
