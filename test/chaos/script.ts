// The hand that breaks the mesh: draws what to do next from a seed, does it, and waits until the mesh has got over it. Keeps account of
// each fault: what was there, what was lost, and how long its names were away.

import { performance } from "node:perf_hooks";
import type { NodeInfo } from "#node";
import { eventually } from "../cluster/eventually.ts";
import type { Fault } from "../cluster/history.ts";
import type { TestMesh } from "../cluster/mesh-up.ts";
import type { Draws } from "../cluster/seeded.ts";
import { viewOf, workerPids } from "../cluster/test-mesh.ts";
import { hostsOf, type Traffic } from "../cluster/traffic.ts";

/** A machine of two cores runs four nodes and their clients, but not many more. */
const NODES_MAX = 4;
const NODES_MIN = 3;
/** The bound on every recovery. Beyond it the name counts as unusable. */
const RECOVERY_MS = 15_000;
/** A replaced worker loads the application anew. */
const REPLACED_MS = 30_000;

export interface Account extends Fault {
  /** Names whose last answer before the fault came from a process that it killed. */
  readonly there: readonly string[];
  /** From the fault until each of them counted again. */
  readonly backMs: readonly number[];
}

export class ChaosScript {
  readonly accounts: Account[] = [];
  readonly #mesh: TestMesh;
  readonly #draws: Draws;
  readonly #alive: NodeInfo[];

  constructor(mesh: TestMesh, draws: Draws) {
    this.#mesh = mesh;
    this.#draws = draws;
    this.#alive = [...mesh.nodes];
  }

  /** Nodes that the script has not killed. */
  get alive(): readonly NodeInfo[] {
    return this.#alive;
  }

  /** One more fault or arrival. Resolves when every name that it hit counts again. */
  async step(traffic: Traffic): Promise<void> {
    const room = this.#alive.length < NODES_MAX;
    if (this.#alive.length < NODES_MIN || (room && this.#draws.next() < 0.2)) return this.#join(traffic);
    const victim = this.#draws.pick(this.#alive);
    const how = this.#draws.pick(["worker", "worker", "primary", "group"] as const);
    return how === "worker" ? this.#killWorker(victim, traffic) : this.#killNode(victim, how, traffic);
  }

  async #join(traffic: Traffic): Promise<void> {
    const atMs = performance.now();
    const node = await this.#mesh.addNode();
    this.#alive.push(node);
    await this.#close({ what: `${node.id} joins`, atMs, pids: [], node: node.id, there: [] }, traffic);
  }

  /** Only when the node has another worker: without any it takes no clients, which is a fault of another kind. */
  async #killWorker(node: NodeInfo, traffic: Traffic): Promise<void> {
    const pids = await eventually(async () => {
      const [now, view] = [await workerPids(this.#mesh, node.id), await viewOf(this.#mesh)];
      return now.length > 1 && view.get(node.id)?.workers === now.length && now;
    }, REPLACED_MS);
    const pid = this.#draws.pick(pids);
    const there = hostsOf(traffic.history).get(pid) ?? [];
    const atMs = performance.now();
    process.kill(pid, "SIGKILL");
    await this.#close({ what: `kill -9 of a worker of ${node.id}`, atMs, pids: [pid], node: node.id, there }, traffic);
  }

  async #killNode(node: NodeInfo, whom: "primary" | "group", traffic: Traffic): Promise<void> {
    const pids = await workerPids(this.#mesh, node.id);
    const there = pids.flatMap((pid) => hostsOf(traffic.history).get(pid) ?? []);
    this.#alive.splice(this.#alive.indexOf(node), 1);
    const atMs = performance.now();
    this.#mesh.kill(node.id, "SIGKILL", whom);
    const what = whom === "group" ? `kill -9 of all of ${node.id}` : `kill -9 of the primary of ${node.id}`;
    await this.#close({ what, atMs, pids, node: node.id, there }, traffic);
  }

  async #close(fault: Omit<Account, "overMs" | "backMs">, traffic: Traffic): Promise<void> {
    const backMs: number[] = [];
    try {
      await Promise.all(
        fault.there.map(async (session) => {
          const asked = await eventually(async () => {
            const one = await traffic.ask(session);
            if (one.outcome.status === "counted" && !fault.pids.includes(one.outcome.answer.pid)) return one;
            throw new Error(`after ${fault.what}: ${session} through ${one.through}: ${JSON.stringify(one.outcome)}`);
          }, RECOVERY_MS);
          backMs.push(asked.endedMs - fault.atMs);
        }),
      );
    } finally {
      this.accounts.push({ ...fault, backMs, overMs: performance.now() });
    }
  }
}
