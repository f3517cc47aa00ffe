// One worker process of the simulation: the real router and the real lease of a worker over a simulated host and simulated links, wired
// as node/worker/worker.ts wires them.

import { MeshError, workerIdOf, type View, type WorkerId, type WorkerLoad, type WorkerRecord } from "#proto";
import type { Links } from "../../mesh/link/port.ts";
import { Router } from "../../mesh/router.ts";
import { WorkerLease } from "../../node/worker/worker-lease.ts";
import { SimHost } from "./host.ts";
import type { SimNode } from "./node.ts";
import type { Endpoint } from "./network.ts";
import { MachineClock, Process } from "./timeline.ts";

/** As a worker waits for its primary. */
const PRIMARY_ANSWER_MS = 1_000;

export type ToWorker =
  | { readonly type: "view"; readonly view: View }
  | { readonly type: "deadline"; readonly deadline: number }
  | { readonly type: "loads"; readonly loads: ReadonlyMap<string, readonly WorkerLoad[]> }
  | { readonly type: "drain" };

export class SimWorker {
  readonly node: SimNode;
  readonly index: number;
  readonly incarnation: string;
  /** The incarnation of the node that it was forked in. */
  readonly life: string;
  readonly id: WorkerId;
  readonly process: Process;
  readonly clock: MachineClock;
  readonly lease: WorkerLease;
  readonly host: SimHost;
  readonly router: Router;
  readonly links: Links;
  readonly endpoint: Endpoint;
  accepting = true;
  listening = false;
  /** Newest deadline that its primary has sent, as this worker knows it. */
  deadline = Number.NEGATIVE_INFINITY;
  closed = false;
  #ipcAt = 0;

  constructor(node: SimNode, index: number, incarnation: string) {
    const { sim, machine } = node;
    this.node = node;
    this.index = index;
    this.incarnation = incarnation;
    this.life = node.incarnation;
    this.id = workerIdOf(node.id, { index, incarnation });
    this.process = new Process(this.id);
    this.clock = new MachineClock(sim.timeline, this.process, machine);
    this.lease = new WorkerLease(this.clock);
    this.host = new SimHost(
      this,
      this.lease,
      sim.store,
      sim.checker,
      () => (sim.random.chance(0.5) ? 0 : sim.random.next() * sim.handlerMs),
      (server) => this.router.ended(server.id, server.fence),
    );
    // The router asks for its service only when links are used, so the endpoint may name it before it is there.
    const endpoint: Endpoint = {
      id: this.id,
      node: node.id,
      process: this.process,
      clock: this.clock,
      service: {
        admit: (from, epoch) => this.router.service.admit(from, epoch),
        call: (from, call, options) => this.router.service.call(from, call, options),
        connect: (from, call, client, options) => this.router.service.connect(from, call, client, options),
        ask: (from, question) => this.router.service.ask(from, question),
      },
    };
    this.endpoint = endpoint;
    this.links = sim.network.attach(endpoint);
    sim.network.epochOf(endpoint, () => this.router.epoch);
    this.router = new Router({
      self: this.id,
      host: this.host,
      links: this.links,
      lease: this.lease,
      clock: this.clock,
      refreshView: (epoch) => this.tell(() => node.refresh(epoch)),
      accepting: () => this.accepting && node.role === "host",
      answerContact: (nodeId, life) => this.#askPrimary(async () => node.answerContact(nodeId, life)),
      answerRelay: (nodeId, ask) => this.#askPrimary(() => node.answerRelay(nodeId, ask)),
      draw: sim.random.next,
    });
  }

  get record(): WorkerRecord {
    return {
      index: this.index,
      incarnation: this.incarnation,
      address: { host: this.id, port: 1, socket: "", lifeline: 2 },
    };
  }

  /** From the primary, in order. */
  hear(message: ToWorker): void {
    this.ipc(() => this.#receive(message));
  }

  ipc(deliver: () => void): void {
    const { timeline, random } = this.node.sim;
    const at = Math.max(this.#ipcAt, timeline.now + random.between(0.05, 0.5));
    this.#ipcAt = at;
    timeline.after(at - timeline.now, this.process, deliver);
  }

  /** To the primary. */
  tell(deliver: () => void): void {
    const { timeline, random } = this.node.sim;
    timeline.after(random.between(0.05, 0.5), this.node.primary, deliver);
  }

  /** Ends as a fenced or leaving worker does; its process goes after it. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.accepting = false;
    this.router.close();
    void this.links.close();
    this.node.sim.network.closeServer(this.endpoint);
  }

  #askPrimary<T>(ask: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.clock.timer(PRIMARY_ANSWER_MS, () =>
        reject(new MeshError("timeout", "the primary does not answer")),
      );
      this.tell(() => {
        void ask().then(
          (answer) => {
            this.ipc(() => {
              cancel();
              resolve(answer);
            });
          },
          () => {},
        );
      });
    });
  }

  #receive(message: ToWorker): void {
    if (this.closed) return;
    switch (message.type) {
      case "view":
        this.router.viewChanged(message.view);
        this.node.sim.network.retainAskers(this.endpoint, this.router.members);
        break;
      case "deadline":
        this.deadline = Math.max(this.deadline, message.deadline);
        this.lease.extend(message.deadline);
        this.node.sim.checker.leaseMoved(this);
        break;
      case "loads":
        this.router.loadsChanged(message.loads);
        break;
      case "drain":
        this.accepting = false;
        break;
    }
  }
}
