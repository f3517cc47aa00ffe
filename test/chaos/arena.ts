// A mesh to do harm to: nodes and NATS in places of their own, clients that ask counters without a pause, and the ways back to a whole
// mesh after each fault. Removes all processes and places at the end, also when the test process just exits.

import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { eventually } from "../cluster/eventually.ts";
import { seeded, type Draws } from "../cluster/seeded.ts";
import { Traffic } from "../cluster/traffic.ts";
import { openNetwork } from "./network/open.ts";
import type { Cut, Network, Place } from "./network/port.ts";
import { installedNats, replicatingNats, startPlacedNats, type PlacedNats } from "./placed-nats.ts";
import { startPlacedNode, type NodeWish, type PlacedNode, type WorkerNow } from "./placed-node.ts";
import { followViews, type ViewHistory } from "./view-history.ts";

const NODES = 4;
const MESH = "chaos";
const WORKERS = 2;
const NAMES = 240;
/** A machine of two cores runs nine processes of the mesh besides. */
const CLIENTS = 16;
/** A drain waits so long for sessions that always have something under way. */
const DRAIN_MS = 3_000;
/** Beyond what silence takes when more than half of a view is gone (78 s), and the start of nodes after that. */
const WHOLE_MS = 120_000;
/** Requests at once when every name is asked through every gateway. */
const SWEEP_WIDTH = 24;
const ANSWERED_MS = 30_000;
const END_MS = 10_000;
/** Settings that no whole mesh should have: the others evict after 3 s. */
const CARELESS = { MESH_SUSPEND_MS: "30000", MESH_EVICT_MS: "40000" };

/** A node that comes and goes. */
export interface GuestWish {
  readonly id: string;
  /** Default: as many as all have. */
  readonly workers?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Where its output goes, unless to `lines`. */
  readonly logFile?: string;
  /** Default: as for all. */
  readonly readyMs?: number;
}

/** A node with the processes that it had when a fault began. */
export interface Victim {
  readonly node: PlacedNode;
  readonly workers: readonly WorkerNow[];
  /** Its incarnation and those of its workers. */
  readonly lives: readonly string[];
}

export class Arena {
  readonly network: Network;
  readonly nats: PlacedNats;
  readonly views: ViewHistory;
  readonly traffic: Traffic;
  readonly #wish: NodeWish;
  readonly #places: readonly Place[];
  readonly #nodes = new Map<string, PlacedNode>();
  readonly #closedToClients = new Set<string>();
  readonly #cuts = new Set<readonly Cut[]>();
  #names: readonly string[] = namesOf(0);
  #rounds = 0;
  readonly #guests = new Map<string, Place>();

  private constructor(
    network: Network,
    nats: PlacedNats,
    views: ViewHistory,
    wish: NodeWish,
    nodes: readonly PlacedNode[],
    draws: Draws,
  ) {
    this.network = network;
    this.nats = nats;
    this.views = views;
    this.#wish = wish;
    this.#places = nodes.map(({ place }) => place);
    for (const node of nodes) this.#nodes.set(node.id, node);
    const names = (): readonly string[] => this.names;
    this.traffic = new Traffic({
      gateways: () => this.gateways,
      get sessions() {
        return names();
      },
      clients: CLIENTS,
      draws,
    });
  }

  /**
   * @param options.natsServers 1, or 3 that replicate, which the installed one must be able to do
   * @param options.careless a node that acts on long after others have evicted it, to see that the judges see it
   */
  static async open(options: {
    readonly seed: number;
    readonly natsServers: 1 | 3;
    readonly careless?: string | undefined;
  }): Promise<Arena> {
    const network = openNetwork();
    const socketDir = mkdtempSync(path.join(os.tmpdir(), "mc-"));
    const undo: (() => unknown)[] = [() => network.close(), () => rmSync(socketDir, { recursive: true, force: true })];
    try {
      const natsPlaces = Array.from({ length: options.natsServers }, (_, at) => network.add(`nats${at}`));
      const program = options.natsServers === 1 ? installedNats() : replicatingNats();
      if (typeof program === "string") throw new Error(program);
      const nats = await startPlacedNats(program, natsPlaces, { smallDisk: network.kind === "namespaces" });
      undo.unshift(() => nats.close());
      const wish: NodeWish = {
        mesh: MESH,
        natsUrls: nats.urls,
        natsReplicas: options.natsServers,
        workers: WORKERS,
        drainMs: DRAIN_MS,
        socketDir,
        extraEnv: {},
      };
      const wishFor = (id: string, founds: boolean): NodeWish => ({
        ...wish,
        extraEnv: { ...(founds ? { MESH_FOUNDING: "now" } : {}), ...(id === options.careless ? CARELESS : {}) },
      });
      const places = Array.from({ length: NODES }, (_, at) => network.add(`n${at + 1}`));
      const nodes: PlacedNode[] = [];
      undo.unshift(() => nodes.map((node) => node.signal("SIGKILL", "group")));
      for (const place of places) {
        nodes.push(await startPlacedNode(place.name, place, wishFor(place.name, nodes.length === 0)));
      }
      const views = await followViews(nats.urls, wish.mesh, wish.natsReplicas);
      return new Arena(network, nats, views, wish, nodes, seeded(options.seed));
    } catch (error) {
      for (const step of undo) await step();
      throw error;
    }
  }

  /** Those that run, as far as the test knows. */
  get nodes(): readonly PlacedNode[] {
    return [...this.#nodes.values()];
  }

  /** Which NATS server leads the registry. */
  registryLeader(): Promise<number> {
    return this.nats.leader(`MESH_${MESH}`);
  }

  /** Nodes that clients use. */
  get gateways(): readonly PlacedNode[] {
    return this.nodes.filter(({ id }) => !this.#closedToClients.has(id));
  }

  /** What clients ask for now. */
  get names(): readonly string[] {
    return this.#names;
  }

  async victim(node: PlacedNode): Promise<Victim> {
    return { node, workers: await node.workersNow(), lives: this.views.livesOf(node.id) };
  }

  /** Clients keep away from the node until the mesh is whole again. */
  closeToClients(node: PlacedNode): void {
    this.#closedToClients.add(node.id);
  }

  /** Its processes are gone, or will be soon. */
  forget(node: PlacedNode): void {
    this.#nodes.delete(node.id);
  }

  /** A node more, until it ends or is dismissed. */
  async invite({ id, workers = WORKERS, env = {}, ...rest }: GuestWish): Promise<PlacedNode> {
    const place = this.#guests.get(id) ?? this.network.add(id);
    this.#guests.set(id, place);
    const node = await startPlacedNode(id, place, { ...this.#wish, workers, extraEnv: env, ...rest });
    this.#nodes.set(id, node);
    return node;
  }

  /** Sends all guests away but this one, which comes if it is not there. */
  async receive(wish: GuestWish | undefined): Promise<void> {
    const leaving = this.nodes.filter(({ id }) => this.#guests.has(id) && id !== wish?.id);
    for (const node of leaving) this.forget(node);
    for (const node of leaving) node.signal("SIGTERM", "primary");
    await Promise.all(leaving.map(({ exited }) => exited));
    const comes = wish !== undefined && !this.#nodes.has(wish.id);
    if (comes) await this.invite(wish);
    if (comes || leaving.length > 0) await this.whole();
  }

  /** Returns the undo. */
  cut(cuts: readonly Cut[]): () => void {
    this.#cuts.add(cuts);
    this.network.impose([...this.#cuts].flat());
    return () => {
      this.#cuts.delete(cuts);
      this.network.impose([...this.#cuts].flat());
    };
  }

  /**
   * Names that nobody has asked for yet, live by now and known to every gateway: sessions stay where they are, so a node that came back hosts
   * none of the old ones. Returns how long the history was before them.
   */
  async newNames(): Promise<number> {
    const from = this.traffic.history.length;
    this.#names = namesOf(++this.#rounds);
    for (const node of this.nodes) await this.#askAll(node);
    return from;
  }

  /** Resolves when all nodes run, are in the view with all their workers, and every name counted through every gateway. */
  async whole(): Promise<void> {
    const gone = this.#places.filter(({ name }) => !this.#nodes.has(name));
    await Promise.all(
      gone.map(async (place) => this.#nodes.set(place.name, await startPlacedNode(place.name, place, this.#wish))),
    );
    await eventually(async () => {
      const view = this.views.last;
      const wanted = (id: string): number => this.#nodes.get(id)?.workers.length ?? 0;
      const members =
        view?.nodes.filter(({ id, state, workers }) => state === "up" && workers.length === wanted(id)) ?? [];
      if (view?.nodes.length !== this.#nodes.size || members.length !== this.#nodes.size) {
        const lines = this.nodes.flatMap((node) => node.lines.slice(-4));
        throw new Error([`the view is ${JSON.stringify(view)}`, ...lines].join("\n"));
      }
      for (const node of this.nodes) {
        const workers = await node.workersNow();
        if (workers.length !== node.workers.length) throw new Error(`${node.id} has ${workers.length} workers`);
      }
      // The nodes serve on without it, so they do not show whether it is back.
      await this.registryLeader();
      return true;
    }, WHOLE_MS);
    this.#closedToClients.clear();
    for (const node of this.nodes) await this.#askAll(node);
  }

  async close(): Promise<void> {
    const stopping = this.traffic.stop();
    for (const node of this.nodes) node.signal("SIGCONT", "group");
    // What is under way is answered first, or its failure would be taken for a broken promise.
    await Promise.race([stopping, afterMs(END_MS)]);
    for (const node of this.nodes) node.signal("SIGKILL", "group");
    await stopping;
    await this.views.close();
    await Promise.race([Promise.all(this.nodes.map(({ exited }) => exited)), afterMs(END_MS)]);
    await this.nats.close();
    this.network.close();
    rmSync(this.#wish.socketDir, { recursive: true, force: true });
  }

  async #askAll(through: PlacedNode): Promise<void> {
    const left = [...this.#names];
    const work = async (): Promise<void> => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        const session = name;
        await eventually(async () => {
          const { outcome } = await this.traffic.ask(session, through);
          if (outcome.status === "counted") return true;
          throw new Error(`${session} through ${through.id}: ${JSON.stringify(outcome)}`);
        }, ANSWERED_MS);
      }
    };
    await Promise.all(Array.from({ length: SWEEP_WIDTH }, work));
  }
}

function namesOf(round: number): string[] {
  return Array.from({ length: NAMES }, (_, at) => `counter/round${round}-${at}`);
}

function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
