// A mesh in containers to do harm to, under the load of clients that ask the counters of examples/hello through the ports of the host.

import { setTimeout as sleep } from "node:timers/promises";
import { getContainerRuntimeClient, type ContainerRuntimeClient } from "testcontainers";
import { integer, list, parseJson, record, text } from "#proto";
import { eventually } from "../cluster/eventually.ts";
import { seeded, type Draws } from "../cluster/seeded.ts";
import { Traffic } from "../cluster/traffic.ts";
import { HelloClient } from "./hello-client.ts";
import { ComposeProject, docker, type NodeContainer } from "./project.ts";

/** A machine of two cores runs up to five nodes of two workers besides. */
const CLIENTS = 8;
const NAMES = 90;
/** Requests at once when every name is asked through every gateway. */
const SWEEP_WIDTH = 16;
const ANSWERED_MS = 30_000;
/** Nodes start, and silent ones are given up, long before. */
const WHOLE_MS = 120_000;
/** Each look at the view starts a process in a container. */
const LOOK_EVERY_MS = 250;
const WORKERS = 2;

export class ComposeArena {
  readonly project: ComposeProject;
  readonly engine: ContainerRuntimeClient;
  readonly hello = new HelloClient();
  readonly draws: Draws;
  /** From when the mesh was whole for the first time. */
  readonly traffic: Traffic;
  #nodes: readonly NodeContainer[] = [];
  #names: readonly string[] = namesOf(0);
  #rounds = 0;
  readonly #closed = new Set<string>();

  private constructor(project: ComposeProject, engine: ContainerRuntimeClient, seed: number) {
    this.project = project;
    this.engine = engine;
    this.draws = seeded(seed);
    const names = (): readonly string[] => this.#names;
    this.traffic = new Traffic({
      gateways: () => this.gateways,
      get sessions() {
        return names();
      },
      clients: CLIENTS,
      draws: seeded(seed + 1),
      client: this.hello.client,
    });
  }

  /** Builds the image and brings the project up. Resolves when every counter counts through every port. */
  static async up(options: { readonly nodes: number; readonly seed: number }): Promise<ComposeArena> {
    const project = await ComposeProject.prepare();
    const arena = new ComposeArena(project, await getContainerRuntimeClient(), options.seed);
    try {
      await project.compose("build", "--quiet", "node");
      await project.compose("up", "-d", "--scale", `node=${options.nodes}`);
      await arena.whole(options.nodes);
      return arena;
    } catch (error) {
      const logs = await project.compose("logs", "--tail", "50").catch(String);
      await arena.close();
      throw new Error(`${String(error)}\n${logs}`, { cause: error });
    }
  }

  /** As of the last look, in the order of their names. */
  get nodes(): readonly NodeContainer[] {
    return this.#nodes;
  }

  /** Nodes that clients use. */
  get gateways(): readonly NodeContainer[] {
    return this.#nodes.filter(({ id }) => !this.#closed.has(id));
  }

  /** Clients keep away from the node until the mesh is whole again. */
  closeToClients(node: NodeContainer): void {
    this.#closed.add(node.id);
  }

  /** Names that nobody has asked for yet, live by now. Returns how long the history was before them. */
  async newNames(): Promise<number> {
    const from = this.traffic.history.length;
    this.#names = namesOf(++this.#rounds);
    for (const node of this.#nodes) await this.#askAll(node);
    return from;
  }

  /** Of the view that a node has, by the command of the image. */
  async view([node] = this.#nodes): Promise<{ readonly epoch: number; readonly members: readonly string[] }> {
    if (node === undefined) throw new Error("no node runs");
    const answer = await docker("exec", node.name, "mesh", "registry", "view", "--json");
    const view = parseJson(Buffer.from(answer), "mesh registry view");
    const members = list(view["nodes"], "nodes")
      .map((one) => record(one, "node"))
      .filter((one) => one["state"] === "up" && list(one["workers"], "workers").length === WORKERS);
    return { epoch: integer(view["epoch"], "epoch"), members: members.map((one) => text(one["id"], "id")) };
  }

  /** Resolves when so many nodes run, are in the view with all their workers, and every name counted through every port. */
  async whole(nodes: number): Promise<void> {
    const look = async (): Promise<string> => {
      const running = await this.project.nodes();
      if (running.length !== nodes) return `${running.length} containers run`;
      const { members } = await this.view(running);
      const same = members.length === nodes && running.every(({ id }) => members.includes(id));
      if (!same) return `the view has ${members.join(", ") || "nobody"}`;
      // Not sooner: clients know only of nodes that serve. Ports of the host may be others when a container has started again.
      this.#nodes = running;
      return "";
    };
    const deadline = performance.now() + WHOLE_MS;
    for (;;) {
      const missing = await look().catch(String);
      if (missing === "") break;
      if (performance.now() > deadline) throw new Error(`no ${nodes} nodes within ${WHOLE_MS} ms: ${missing}`);
      await sleep(LOOK_EVERY_MS);
    }
    this.#closed.clear();
    for (const node of this.#nodes) await this.#askAll(node);
  }

  async close(): Promise<void> {
    await this.traffic.stop();
    await this.project.down();
  }

  async #askAll(through: NodeContainer): Promise<void> {
    const left = [...this.#names];
    const work = async (): Promise<void> => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        const session = name;
        await eventually(async () => {
          const { outcome } = await this.traffic.ask(session, through);
          if (outcome.status === "counted") return true;
          throw new Error(`${session} through ${through.name}: ${JSON.stringify(outcome)}`);
        }, ANSWERED_MS);
      }
    };
    await Promise.all(Array.from({ length: SWEEP_WIDTH }, work));
  }
}

function namesOf(round: number): string[] {
  return Array.from({ length: NAMES }, (_, at) => `counter/round${round}-${at}`);
}
