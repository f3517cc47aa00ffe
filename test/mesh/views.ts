// Builds views for tests.

import { workerIdOf, type NodeRecord, type NodeRole, type NodeState, type View, type WorkerId } from "#proto";

export interface NodeSketch {
  readonly id: string;
  /** Incarnations of its workers, by index. */
  readonly workers: readonly string[];
  readonly role?: NodeRole;
  readonly state?: NodeState;
  readonly labels?: Record<string, string>;
}

export function viewOf(epoch: number, nodes: readonly NodeSketch[]): View {
  return { epoch, founding: "one", opId: `op-${epoch}`, nodes: nodes.map(nodeOf) };
}

function nodeOf({ id, workers, role = "host", state = "up", labels = {} }: NodeSketch): NodeRecord {
  return {
    id,
    incarnation: `${id}-1`,
    role,
    state,
    machine: "test",
    zone: "",
    labels,
    gateway: "http://127.0.0.1:0",
    admin: "http://127.0.0.1:0",
    lifeline: { host: "127.0.0.1", port: 0 },
    pid: 1,
    workers: workers.map((incarnation, index) => ({
      index,
      incarnation,
      address: { host: "127.0.0.1", port: 1, socket: "", lifeline: 0 },
    })),
  };
}

export function workerId(node: string, index: number, incarnation: string): WorkerId {
  return workerIdOf(node, { index, incarnation });
}
