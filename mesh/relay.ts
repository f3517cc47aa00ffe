// The registry by way of a peer. A node that cannot reach it asks others, over links, to do there what it would do itself: renew its
// lease, read the view and change it. The peer adds nothing and decides nothing: it passes on the very bytes and the very revision, and the
// registry's compare-and-set settles every race, with an eviction or with a heartbeat that arrives on both ways, as it always does. A
// request that is late, lost or made twice is what the key-value port calls unknown. Only a peer with contact of its own answers, so no
// request goes round in circles.

import { MeshError, messageOf, type NodeRecord, type RelayedFrame, type RelayFrame, type View } from "#proto";
import { rendezvousOrder } from "#placement";
import type { Clock } from "./clock.ts";
import type { Kv, KvEntry, KvWrite } from "./kv/port.ts";
import type { LogLine } from "./log.ts";

/** For one peer's answer: a round trip to it and one of its own to the registry. Two of them fit between the first doubt and the deadline. */
const ANSWER_MS = 500;
/** Peers asked for one operation. The next operation begins with those after them. */
const PEERS_TRIED_MAX = 2;
/** A heartbeat, a look at the view and a few changes of it. More would only wait for the same peer. */
const OPERATIONS_MAX = 8;

/** The part of the registry that a node needs to keep its place in the view. */
export type RegistryKeys = Pick<Kv, "get" | "create" | "update" | "remove">;

/** Asks the node's `answerRelay`, through any worker of it. Undefined: no answer. MUST NOT reject. */
export type AskRelay = (node: NodeRecord, ask: RelayFrame, timeoutMs: number) => Promise<RelayedFrame | undefined>;

export interface RelayOptions {
  readonly self: string;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly view: () => View;
  readonly ask: AskRelay;
  /** A peer has seen a view of this epoch. */
  readonly onEpoch: (epoch: number) => void;
}

export class Relay implements RegistryKeys {
  readonly #options: RelayOptions;
  /** Gives up the questions under way. */
  readonly #giveUp = new Set<() => void>();
  #first: string | undefined;
  #helper: string | undefined;
  #open = 0;
  #stopped = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  async get(key: string): Promise<KvEntry | undefined> {
    const answer = await this.#operate({ operation: "get", key, value: nothing, revision: 0 });
    if (answer?.outcome === "entry") return { key, value: answer.value, revision: answer.revision };
    if (answer?.outcome === "none") return undefined;
    throw new MeshError("registry_unavailable", "no peer reaches the registry for this node");
  }

  create(key: string, value: Uint8Array): Promise<KvWrite> {
    return this.#write({ operation: "create", key, value, revision: 0 });
  }

  update(key: string, value: Uint8Array, revision: number): Promise<KvWrite> {
    return this.#write({ operation: "update", key, value, revision });
  }

  remove(key: string, revision: number): Promise<KvWrite> {
    return this.#write({ operation: "remove", key, value: nothing, revision });
  }

  /** This node says that it has contact: ask it first. */
  prefer(nodeId: string): void {
    this.#first = nodeId;
  }

  /** Nobody needs to help any more. */
  rest(): void {
    if (this.#helper === undefined) return;
    this.#helper = undefined;
    this.#options.log("info", "this node reaches the registry by itself again");
  }

  stop(): void {
    this.#stopped = true;
    for (const giveUp of this.#giveUp) giveUp();
  }

  async #write(ask: RelayFrame): Promise<KvWrite> {
    const answer = await this.#operate(ask);
    if (answer?.outcome === "written") return { status: "written", revision: answer.revision };
    return { status: answer?.outcome === "conflict" ? "conflict" : "unknown" };
  }

  /** What a peer with contact says of it; undefined when none was found. */
  async #operate(ask: RelayFrame): Promise<RelayedFrame | undefined> {
    if (this.#open >= OPERATIONS_MAX) return undefined;
    this.#open++;
    try {
      const order = this.#order();
      for (const node of order.slice(0, PEERS_TRIED_MAX)) {
        if (this.#stopped) return undefined;
        const answer = await this.#answerOf(node, ask);
        // A write that may have been made there is made again elsewhere: at the same revision, so once at most.
        if (answer === undefined || answer.outcome === "away" || answer.outcome === "unknown") continue;
        this.#first = node.id;
        this.#tellHelper(node.id);
        // Not after a read: it may be the very one that is to show that view.
        if (ask.operation !== "get") this.#options.onEpoch(answer.epoch);
        return answer;
      }
      this.#first = order[PEERS_TRIED_MAX % Math.max(1, order.length)]?.id;
      return undefined;
    } finally {
      this.#open--;
    }
  }

  /** All others, each node in an order of its own, so that many do not lean on one; from the one that helped last. */
  #order(): NodeRecord[] {
    const { self, view } = this.#options;
    const peers = new Map(view().nodes.map((node) => [node.id, node]));
    peers.delete(self);
    const ids = rendezvousOrder(self, [...peers.keys()]);
    const start = Math.max(0, ids.indexOf(this.#first ?? ""));
    return [...ids.slice(start), ...ids.slice(0, start)].flatMap((id) => peers.get(id) ?? []);
  }

  async #answerOf(node: NodeRecord, ask: RelayFrame): Promise<RelayedFrame | undefined> {
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const giveUp = (): void => resolve(undefined);
    const cancel = this.#options.clock.timer(ANSWER_MS, giveUp);
    this.#giveUp.add(giveUp);
    try {
      return await Promise.race([this.#options.ask(node, ask, ANSWER_MS), late]);
    } finally {
      cancel();
      this.#giveUp.delete(giveUp);
    }
  }

  #tellHelper(nodeId: string): void {
    if (this.#helper === nodeId) return;
    this.#helper = nodeId;
    this.#options.log("warn", "this node does not reach the registry; a peer renews its lease for it", {
      peer: nodeId,
    });
  }
}

/** The registry itself while it answers us, else by way of a peer; and itself again when there is none. */
export function withRelay(kv: RegistryKeys, relay: RegistryKeys, inContact: () => boolean): RegistryKeys {
  const write = async (operation: (keys: RegistryKeys) => Promise<KvWrite>): Promise<KvWrite> => {
    const relayed = inContact() ? undefined : await operation(relay);
    return relayed === undefined || relayed.status === "unknown" ? operation(kv) : relayed;
  };
  return {
    get: (key) => (inContact() ? kv.get(key) : relay.get(key).catch(() => kv.get(key))),
    create: (key, value) => write((keys) => keys.create(key, value)),
    update: (key, value, revision) => write((keys) => keys.update(key, value, revision)),
    remove: (key, revision) => write((keys) => keys.remove(key, revision)),
  };
}

/** The peer's side: one operation on our own connection. Never rejects. */
export async function relayed(kv: RegistryKeys, ask: RelayFrame, epoch: number, log: LogLine): Promise<RelayedFrame> {
  if (ask.operation === "get") {
    try {
      const entry = await kv.get(ask.key);
      if (entry === undefined) return { outcome: "none", value: nothing, revision: 0, epoch };
      return { outcome: "entry", value: entry.value, revision: entry.revision, epoch };
    } catch (error) {
      log("debug", "a read for a peer failed", { key: ask.key, error: messageOf(error) });
      return away(epoch);
    }
  }
  const write = await (ask.operation === "create"
    ? kv.create(ask.key, ask.value)
    : ask.operation === "update"
      ? kv.update(ask.key, ask.value, ask.revision)
      : kv.remove(ask.key, ask.revision));
  return { outcome: write.status, value: nothing, revision: write.status === "written" ? write.revision : 0, epoch };
}

export function away(epoch: number): RelayedFrame {
  return { outcome: "away", value: nothing, revision: 0, epoch };
}

const nothing = new Uint8Array();
