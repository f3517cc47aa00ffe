// A node: the primary process that supervises the workers, keeps the node's place in the view and answers for it outside.
// It runs no session code. A life of the node lasts from one join to its end or eviction; an evicted node drops all it had and begins
// another life under a new incarnation.

import {
  connectNats,
  memoryBucket,
  serveLifeline,
  systemClock,
  type Kv,
  type LifelineServer,
  type NatsLink,
} from "#mesh";
import type { NodeConfig } from "../config.ts";
import type { ModuleReport } from "../ipc.ts";
import type { Log } from "../log.ts";
import { AdminServer, type NodeStatus } from "./admin.ts";
import { EventStream } from "./event-stream.ts";
import { Life, type NodeInfo } from "./life.ts";
import { RegistryService } from "./registry-service.ts";

export interface RunningNode {
  /** The exit code once everything is ended; rejects with a MeshError when the node cannot start. */
  readonly ended: Promise<number>;
  /** `drain`: let sessions finish up to the limit first. A `now` during a drain cuts it short. Further calls do nothing. */
  stop(how: "drain" | "now"): void;
}

export interface NodeEvents {
  readonly onReady: (info: NodeInfo) => void;
  /** The application takes long to load, and what is known of why; the node logs it, too. */
  readonly onSlow?: (why: string) => void;
  /** What the application imports. */
  readonly onModules?: (report: ModuleReport) => void;
}

export function runNode(config: NodeConfig, { log, ...events }: NodeEvents & { readonly log: Log }): RunningNode {
  const node = new Node(config, log, events);
  return { ended: node.run(), stop: (how) => node.stop(how) };
}

/** What ends a life. */
type LifeEnd = { readonly why: "stop" } | { readonly why: "fenced"; readonly reason: string };

class Node {
  readonly #config: NodeConfig;
  readonly #log: Log;
  readonly #events: NodeEvents;
  readonly #admin: AdminServer;
  readonly #stopping = Promise.withResolvers<void>();
  readonly #cutShort = Promise.withResolvers<void>();
  #stop: "drain" | "now" | undefined;
  #announced = false;
  #life: Life | undefined;

  constructor(config: NodeConfig, log: Log, events: NodeEvents) {
    this.#config = config;
    this.#log = log;
    this.#events = events;
    this.#admin = new AdminServer(() => this.#status());
  }

  stop(how: "drain" | "now"): void {
    if (how === "now") this.#cutShort.resolve();
    this.#stop ??= how;
    this.#stopping.resolve();
  }

  async run(): Promise<number> {
    const { registry } = this.#config;
    let nats: NatsLink | undefined;
    let lifeline: LifelineServer | undefined;
    try {
      lifeline = await serveLifeline(this.#config.bind);
      await this.#admin.listen(this.#config.adminPort, this.#config.adminBind);
      if (registry.kind === "nats")
        nats = await connectNats(registry.url, { name: `sessionmesh ${this.#config.node}` });
      const kv =
        nats === undefined
          ? memoryBucket().open()
          : await nats.bucket(`MESH_${this.#config.mesh}`, { replicas: this.#config.natsReplicas });
      while (this.#stop === undefined) {
        const end = await this.#oneLife(kv, nats, lifeline.port);
        if (end.why === "fenced")
          this.#log.warn("evicted from the mesh; joining again as a newcomer", { reason: end.reason });
      }
      return 0;
    } finally {
      await lifeline?.close();
      await this.#admin.close();
      await nats?.close();
    }
  }

  async #oneLife(kv: Kv, nats: NatsLink | undefined, lifeline: number): Promise<LifeEnd> {
    const events = nats === undefined ? undefined : new EventStream(nats, this.#config);
    const life = new Life(this.#config, this.#log, { admin: this.#admin.port, lifeline }, kv, {
      onReady: (info) => {
        this.#log.info("in the mesh", { epoch: life.view?.epoch, gateway: info.gateway, workers: info.workers.length });
        if (!this.#announced) this.#events.onReady(info);
        this.#announced = true;
      },
      onFault: (event) => events?.tell(event),
      onSlow: (why) => {
        this.#log.warn("the application is still loading", { app: this.#config.app, why });
        if (!this.#announced) this.#events.onSlow?.(why);
      },
      ...(this.#events.onModules && { onModules: this.#events.onModules }),
    });
    this.#life = life;
    let registry: RegistryService | undefined;
    try {
      const started = await Promise.race([life.start(), this.#stopping.promise.then(() => "stop" as const)]);
      if (started === "stop") return { why: "stop" };
      if (nats !== undefined) {
        registry = new RegistryService(nats, this.#config, {
          questions: life.questions,
          view: () => life.view,
          loads: () => life.loads,
          suspended: () => life.suspended,
          clock: systemClock,
        });
        await registry.start();
      }
      const end = await Promise.race([
        life.fenced.then((reason): LifeEnd => ({ why: "fenced", reason })),
        this.#stopping.promise.then((): LifeEnd => ({ why: "stop" })),
      ]);
      if (end.why === "fenced") await life.fence(end.reason);
      else if (this.#stop === "drain") await life.drain(this.#config.drainMs, this.#cutShort.promise);
      return end;
    } finally {
      await registry?.close();
      await life.end(this.#stop === "drain" ? "drain" : "shutdown");
      this.#life = undefined;
    }
  }

  #status(): NodeStatus {
    const view = this.#life?.view;
    return {
      mesh: this.#config.mesh,
      node: this.#config.node,
      ready: this.#announced && this.#stop === undefined && this.#life?.suspended === false,
      suspended: this.#life?.suspended ?? true,
      stopping: this.#stop !== undefined,
      epoch: view?.epoch ?? 0,
      nodes: view?.nodes.length ?? 0,
      workers: (this.#life?.processes ?? []).map(({ index, pid, settled }) => ({ index, pid, settled })),
    };
  }
}
