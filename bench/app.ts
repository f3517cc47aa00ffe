// The application that the benchmarks load: as little of its own as possible, so that what is measured is the mesh. The controls answer
// the same requests with the same bodies.

import { defineMesh, SessionServer, type SessionSocket } from "sessionmesh";
import { memoryInUse } from "./memory.ts";

/** Longer than any measurement: no session idles away while it is counted, and all of them stand in the list of idle ones. */
const IDLE_MS = 3_600_000;

let countersMade = 0;

class Counter extends SessionServer {
  static readonly options = { idleMs: IDLE_MS } as const;
  #count = 0;

  override onStart(): void {
    countersMade += 1;
  }

  override fetch(): Response {
    this.#count += 1;
    return Response.json({ count: this.#count, node: this.ctx.node });
  }
}

class Echo extends SessionServer {
  static readonly options = { idleMs: IDLE_MS } as const;

  override fetch(): Response {
    return Response.json({ node: this.ctx.node });
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    socket.send(message);
  }
}

/** Tells what the whole worker uses: meaningful in a mesh of one worker. */
class Memory extends SessionServer {
  override fetch(): Response {
    return Response.json(memoryInUse(countersMade));
  }
}

export default defineMesh({ sessions: { counter: Counter, echo: Echo, memory: Memory } });
