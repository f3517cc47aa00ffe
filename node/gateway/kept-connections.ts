// Connections that are kept for a client's next request, and closed when it does not come. Node would set a timer anew for each request;
// a look at all connections now and then costs requests nothing. A client that does not take its answer is idle, too.

import type { Socket } from "node:net";

/** Looks at all connections within one time limit: an idle one is closed up to two looks later than it might be. */
const LOOKS = 10;
/** Looking more often than this would cost more than the time-out is worth. */
const LOOK_MS_MAX = 5_000;

interface Traffic {
  /** Bytes read, and bytes sent. */
  moved: number;
  /** Since when nothing has. */
  sinceMs: number;
}

export class KeptConnections {
  readonly #idleMs: number;
  readonly #looker: NodeJS.Timeout;
  /** Bounded by the connections. */
  readonly #traffic = new Map<Socket, Traffic>();
  /** One listener for all of them. */
  readonly #closed: (this: Socket) => void;

  /** @param busy the connections on which an answer is being made or streamed: the session's own limits are theirs */
  constructor(idleMs: number, busy: () => ReadonlySet<unknown>) {
    const traffic = this.#traffic;
    this.#closed = function forget() {
      traffic.delete(this);
    };
    this.#idleMs = idleMs;
    this.#looker = setInterval(() => this.#look(busy()), Math.min(LOOK_MS_MAX, Math.ceil(idleMs / LOOKS)));
    this.#looker.unref();
  }

  add(socket: Socket): void {
    this.#traffic.set(socket, { moved: 0, sinceMs: performance.now() });
    socket.on("close", this.#closed);
  }

  /** It serves no more requests. */
  release(socket: Socket): void {
    this.#traffic.delete(socket);
    socket.off("close", this.#closed);
  }

  close(): void {
    clearInterval(this.#looker);
  }

  #look(busy: ReadonlySet<unknown>): void {
    const nowMs = performance.now();
    for (const [socket, traffic] of this.#traffic) {
      const moved = socket.bytesRead + socket.bytesWritten - socket.writableLength;
      if (moved !== traffic.moved || busy.has(socket)) {
        traffic.moved = moved;
        traffic.sinceMs = nowMs;
      } else if (nowMs - traffic.sinceMs >= this.#idleMs) {
        socket.destroy();
      }
    }
  }
}
