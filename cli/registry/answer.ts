// The registry's answers as the tables need them. Answers come from nodes that may be of another version: what is not as expected
// is refused with its path.

import type { SessionInfo } from "#node";
import { integer, list, record, text } from "#proto";

export interface NodeLine {
  readonly id: string;
  readonly state: string;
  readonly role: string;
  readonly zone: string;
  readonly gateway: string;
  readonly pid: number;
  readonly workers: number;
  readonly sessions: number;
}

export function readSession(value: unknown, path: string): SessionInfo {
  const session = record(value, path);
  return {
    kind: text(session["kind"], `${path}.kind`),
    name: text(session["name"], `${path}.name`),
    node: text(session["node"], `${path}.node`),
    worker: integer(session["worker"], `${path}.worker`),
    fence: text(session["fence"], `${path}.fence`),
    state: text(session["state"], `${path}.state`),
    sockets: integer(session["sockets"], `${path}.sockets`),
    inFlight: integer(session["inFlight"], `${path}.inFlight`),
    createdAt: text(session["createdAt"], `${path}.createdAt`),
    lastActiveAt: text(session["lastActiveAt"], `${path}.lastActiveAt`),
  };
}

export function readSessions(answer: Record<string, unknown>): SessionInfo[] {
  return list(answer["sessions"], "sessions").map((entry, at) => readSession(entry, `sessions[${at}]`));
}

export function readNodes(answer: Record<string, unknown>): NodeLine[] {
  return list(answer["nodes"], "nodes").map((entry, at) => {
    const path = `nodes[${at}]`;
    const node = record(entry, path);
    return {
      id: text(node["id"], `${path}.id`),
      state: text(node["state"], `${path}.state`),
      role: text(node["role"], `${path}.role`),
      zone: text(node["zone"], `${path}.zone`),
      gateway: text(node["gateway"], `${path}.gateway`),
      pid: integer(node["pid"], `${path}.pid`),
      workers: list(node["workers"], `${path}.workers`).length,
      sessions: integer(node["sessions"], `${path}.sessions`),
    };
  });
}
