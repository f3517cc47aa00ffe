// The session host of one simulated worker: as many session servers as are activated here, each a counter in the fenced store. It obeys
// mesh/host.ts and the gate of the real one (node/session): no handler starts, no write and no answer leaves while the lease is
// closed. Every server ends with one reason.

import { MeshError, type Fence, type SessionId, type SessionKey } from "#proto";
import type { SessionCall, SessionReply } from "../../mesh/call.ts";
import type { SessionHost } from "../../mesh/host.ts";
import type { ConnectReply } from "../../mesh/socket.ts";
import type { Lease } from "../../mesh/router.ts";
import type { PlacementWish } from "#placement";
import type { Checker } from "./checker.ts";
import type { SimWorker } from "./worker.ts";
import type { Store } from "./store.ts";

export type EndReason = "stopped" | "crashed" | "killed" | "moved" | "drained" | "evicted" | "lost";

const wishes: Readonly<Record<string, PlacementWish>> = {
  room: { policy: "owner-first", labels: {} },
  wide: { policy: "spread", labels: {} },
};

interface Waiting {
  readonly call: SessionCall;
  readonly resolve: (reply: SessionReply) => void;
  readonly reject: (error: MeshError) => void;
  readonly untilMs: number;
  started: boolean;
}

export class Server {
  readonly id: SessionId;
  readonly fence: Fence;
  /** What the store said; undefined until the claim is answered. */
  value: number | undefined;
  ended: EndReason | undefined;
  /** Requests in order: one at a time. */
  readonly queue: Waiting[] = [];
  busy = false;

  constructor(id: SessionId, fence: Fence) {
    this.id = id;
    this.fence = fence;
  }
}

export class SimHost implements SessionHost {
  readonly servers = new Map<SessionKey, Server>();
  readonly #worker: SimWorker;
  readonly #lease: Lease;
  readonly #store: Store;
  readonly #checker: Checker;
  readonly #handlerMs: () => number;
  readonly #onEnded: (server: Server) => void;

  constructor(
    worker: SimWorker,
    lease: Lease,
    store: Store,
    checker: Checker,
    handlerMs: () => number,
    onEnded: (server: Server) => void,
  ) {
    this.#worker = worker;
    this.#lease = lease;
    this.#store = store;
    this.#checker = checker;
    this.#handlerMs = handlerMs;
    this.#onEnded = onEnded;
  }

  has(key: SessionKey): boolean {
    return this.servers.has(key);
  }

  activate(id: SessionId, fence: Fence): void {
    const server = new Server(id, fence);
    this.servers.set(id.key, server);
    this.#checker.activated(this.#worker, server);
    this.#whenOpen(server, () => {
      this.#store.claim(this.#worker.process, id.key, fence, (value) => {
        if (server.ended !== undefined) return;
        if (value === undefined) return this.end(id.key, "crashed");
        server.value = value;
        this.#next(server);
      });
    });
  }

  fetch(call: SessionCall): Promise<SessionReply> {
    return new Promise((resolve, reject) => {
      const server = this.servers.get(call.id.key);
      if (server === undefined) return reject(stopped(call));
      const untilMs = this.#worker.clock.now() + call.timeoutMs;
      server.queue.push({ call, resolve, reject, untilMs, started: false });
      this.#next(server);
    });
  }

  connect(): ConnectReply {
    return { status: "refused", error: new MeshError("bad_upgrade", "no sockets in the simulation") };
  }

  *sessions(): Iterable<{ readonly id: SessionId; readonly fence: Fence }> {
    yield* this.servers.values();
  }

  refusalOf(): undefined {
    return undefined;
  }

  wishOf(kind: string): PlacementWish {
    return wishes[kind] ?? { policy: "owner-first", labels: {} };
  }

  end(key: SessionKey, reason: EndReason): void {
    const server = this.servers.get(key);
    if (server === undefined) return;
    this.servers.delete(key);
    server.ended = reason;
    this.#checker.ended(this.#worker, server, reason);
    this.#onEnded(server);
    for (const { call, reject, started } of server.queue.splice(0)) {
      reject(started ? new MeshError("session_crashed", `${key} ended: ${reason}`) : stopped(call));
    }
  }

  endAll(reason: EndReason): void {
    for (const key of [...this.servers.keys()]) this.end(key, reason);
  }

  #next(server: Server): void {
    if (server.busy || server.value === undefined || server.queue.length === 0) return;
    server.busy = true;
    this.#whenOpen(server, () => {
      let request = server.queue[0];
      while (request !== undefined && request.untilMs < this.#worker.clock.now()) {
        request.reject(new MeshError("timeout", "the request waited too long"));
        server.queue.shift();
        request = server.queue[0];
      }
      if (request === undefined) {
        server.busy = false;
        return;
      }
      const due = request;
      due.started = true;
      this.#checker.handlerStarted(this.#worker, server, due.call.url);
      const ms = this.#handlerMs();
      if (ms === 0) this.#write(server, due);
      else this.#worker.clock.timer(ms, () => this.#write(server, due));
    });
  }

  #write(server: Server, request: Waiting): void {
    this.#whenOpen(server, () => {
      const next = (server.value ?? 0) + 1;
      this.#checker.acts(this.#worker, `writes ${server.id.key}`);
      this.#store.write(this.#worker.process, server.id.key, server.fence, next, (written) => {
        if (server.ended !== undefined) return;
        // Somebody has claimed it since: this server is a ghost.
        if (written === undefined) return this.end(server.id.key, "crashed");
        server.value = next;
        this.#whenOpen(server, () => {
          this.#checker.acts(this.#worker, `answers for ${server.id.key}`);
          this.#checker.answered(server, next);
          server.queue.shift();
          server.busy = false;
          request.resolve({ status: 200, statusText: "", headers: [], body: `${next}@${this.#worker.id}` });
          this.#next(server);
        });
      });
    });
  }

  /** The gate: goes on while the lease is open, and never for a server that has ended. */
  #whenOpen(server: Server, then: () => void): void {
    if (server.ended !== undefined) return;
    if (this.#lease.isOpen()) then();
    else void this.#lease.whenOpen().then(() => this.#whenOpen(server, then));
  }
}

function stopped(call: SessionCall): MeshError {
  return new MeshError("session_stopped", `${call.id.key} is not here any more`, { session: call.id.key });
}
