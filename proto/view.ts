// The view: the numbered list of nodes and workers that all members agree on. This file has its shape, its codec and
// how workers are named. Bytes that are not a view are rejected with a reason, never half understood.

import { MeshError } from "./error.ts";
import { integer, list, oneOf, parseJson, record, text } from "./json.ts";

declare const workerIdBrand: unique symbol;
/**
 * Names one life of one worker process: `node/index@incarnation`. A restarted worker has another id, so a frame, a
 * route or a link of its former life can never be taken for its own.
 */
export type WorkerId = string & { readonly [workerIdBrand]: true };

export interface WorkerAddress {
  /** Host and port of the worker's link server. */
  readonly host: string;
  readonly port: number;
  /** Path of its Unix socket, for peers on the same machine. */
  readonly socket: string;
  /** A port of the same host that the process holds open for as long as it lives. 0: it has none. */
  readonly lifeline: number;
}

export interface WorkerRecord {
  readonly index: number;
  readonly incarnation: string;
  readonly address: WorkerAddress;
}

export type NodeRole = "host" | "gateway";
export type NodeState = "up" | "draining";

export interface NodeRecord {
  readonly id: string;
  readonly incarnation: string;
  /** `gateway`: takes client traffic, hosts no session, owns no partition. */
  readonly role: NodeRole;
  /** `draining`: hosts what it has, owns no partition, takes no new session. */
  readonly state: NodeState;
  /** Names the machine (or container): workers with the same value reach each other through Unix sockets. */
  readonly machine: string;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Address of the node's gateway as other people reach it, e.g. `http://10.0.0.5:8080`. */
  readonly gateway: string;
  /** Address of its admin port. */
  readonly admin: string;
  /** A port that its primary holds open for as long as the process lives. Port 0: it has none. */
  readonly lifeline: { readonly host: string; readonly port: number };
  readonly pid: number;
  readonly workers: readonly WorkerRecord[];
}

export interface View {
  /** Rises by at least one with every change. */
  readonly epoch: number;
  /**
   * Names the mesh that this is a view of, from its founding to its end: two that were founded apart in one registry are told apart by it.
   * ISO 8601 time and the founder's incarnation, so the lesser of two in the order of text is the older mesh.
   */
  readonly founding: string;
  /** Names the compare-and-set that wrote this view: how a writer that got no answer learns whether it won. */
  readonly opId: string;
  readonly nodes: readonly NodeRecord[];
  /**
   * Incarnations that were evicted or have left, the last ones; absent: none yet. Who reads a view that holds one of them although an earlier
   * one named it here knows that the registry has forgotten its end.
   */
  readonly departed?: readonly string[];
}

export const emptyView: View = { epoch: 0, founding: "", opId: "", nodes: [] };

/** A worker of the view, with the facts of its node that routing and placement need. */
export interface Member {
  readonly id: WorkerId;
  /** `node/index`: the same across restarts; what rendezvous hashing weighs. */
  readonly slot: string;
  readonly node: NodeRecord;
  readonly worker: WorkerRecord;
}

export function workerIdOf(nodeId: string, worker: { readonly index: number; readonly incarnation: string }): WorkerId {
  return `${nodeId}/${worker.index}@${worker.incarnation}` as WorkerId;
}

/** `n1/0` of `n1/0@x7f3`: for people. */
export function slotOf(id: WorkerId): string {
  return id.slice(0, id.indexOf("@"));
}

export function nodeOf(id: WorkerId): string {
  return id.slice(0, id.indexOf("/"));
}

/** Throws `bad_frame`: for ids that arrive from a peer. */
export function parseWorkerId(text: string): WorkerId {
  if (!/^[A-Za-z0-9._-]{1,64}\/\d{1,4}@[A-Za-z0-9_-]{1,64}$/.test(text)) {
    throw new MeshError("bad_frame", `"${text.slice(0, 80)}" is not a worker id`);
  }
  return text as WorkerId;
}

export function membersOf(view: View): Member[] {
  return view.nodes.flatMap((node) =>
    node.workers.map((worker) => ({
      id: workerIdOf(node.id, worker),
      slot: `${node.id}/${worker.index}`,
      node,
      worker,
    })),
  );
}

/** Hosts sessions, so it must answer for them when a partition changes its owner. */
export function canHost(member: Member): boolean {
  return member.node.role === "host";
}

/** May own partitions and be chosen for new sessions. */
export function canOwn(member: Member): boolean {
  return member.node.role === "host" && member.node.state === "up";
}

const PORT_MAX = 65_535;

const NODE_ID = /^[A-Za-z0-9._-]{1,64}$/;

export function isNodeId(id: string): boolean {
  return NODE_ID.test(id);
}

export function encodeView(view: View): Uint8Array {
  return Buffer.from(JSON.stringify(view));
}

/** Throws `bad_frame`. Unknown fields are kept out, so a newer writer cannot smuggle state past an older reader. */
export function decodeView(bytes: Uint8Array): View {
  const value = parseJson(bytes, "view");
  const epoch = integer(value["epoch"], "view.epoch");
  const nodes = list(value["nodes"], "view.nodes").map((entry, at) =>
    decodeNode(record(entry, `view.nodes[${at}]`), `view.nodes[${at}]`),
  );
  // Two records of one slot would be two owners of the same partitions.
  refuseTwins(
    nodes.map((node) => node.id),
    "view.nodes",
  );
  for (const node of nodes)
    refuseTwins(
      node.workers.map((worker) => worker.index),
      `view.nodes.${node.id}.workers`,
    );
  const founding = text(value["founding"], "view.founding");
  const opId = text(value["opId"], "view.opId");
  if (value["departed"] === undefined) return { epoch, founding, opId, nodes };
  const departed = list(value["departed"], "view.departed").map((entry, at) => text(entry, `view.departed[${at}]`));
  return { epoch, founding, opId, nodes, departed };
}

function refuseTwins(ids: readonly (string | number)[], path: string): void {
  if (new Set(ids).size !== ids.length) throw new MeshError("bad_frame", `${path} holds the same one twice`);
}

function decodeNode(value: Record<string, unknown>, path: string): NodeRecord {
  const id = text(value["id"], `${path}.id`);
  if (!isNodeId(id)) throw new MeshError("bad_frame", `${path}.id is not a node id: "${id.slice(0, 80)}"`);
  return {
    id,
    incarnation: text(value["incarnation"], `${path}.incarnation`),
    role: oneOf(value["role"], ["host", "gateway"], `${path}.role`),
    state: oneOf(value["state"], ["up", "draining"], `${path}.state`),
    machine: text(value["machine"], `${path}.machine`),
    zone: text(value["zone"], `${path}.zone`),
    labels: Object.fromEntries(
      Object.entries(record(value["labels"], `${path}.labels`)).map(([key, label]) => [
        key,
        text(label, `${path}.labels.${key}`),
      ]),
    ),
    gateway: text(value["gateway"], `${path}.gateway`),
    admin: text(value["admin"], `${path}.admin`),
    lifeline: decodeLifeline(record(value["lifeline"], `${path}.lifeline`), `${path}.lifeline`),
    pid: integer(value["pid"], `${path}.pid`),
    workers: list(value["workers"], `${path}.workers`).map((entry, at) =>
      decodeWorker(id, record(entry, `${path}.workers[${at}]`), `${path}.workers[${at}]`),
    ),
  };
}

function decodeLifeline(value: Record<string, unknown>, path: string): NodeRecord["lifeline"] {
  return { host: text(value["host"], `${path}.host`), port: port(value["port"], `${path}.port`) };
}

function decodeWorker(nodeId: string, value: Record<string, unknown>, path: string): WorkerRecord {
  const address = record(value["address"], `${path}.address`);
  const worker = {
    index: integer(value["index"], `${path}.index`),
    incarnation: text(value["incarnation"], `${path}.incarnation`),
    address: {
      host: text(address["host"], `${path}.address.host`),
      port: port(address["port"], `${path}.address.port`),
      socket: text(address["socket"], `${path}.address.socket`),
      // Earlier versions wrote none.
      lifeline: port(address["lifeline"] ?? 0, `${path}.address.lifeline`),
    },
  };
  // Its id must be one that peers accept, or nobody could reach it.
  parseWorkerId(workerIdOf(nodeId, worker));
  return worker;
}

function port(value: unknown, path: string): number {
  const number = integer(value, path);
  if (number > PORT_MAX) throw new MeshError("bad_frame", `${path} is not a port`);
  return number;
}
