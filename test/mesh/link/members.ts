// The two ends of a link in tests, and a call to send over it.

import { SessionCall } from "#mesh";
import { parseSessionKey, workerIdOf, type Member, type WorkerId } from "#proto";

export const asker = workerIdOf("a", { index: 0, incarnation: "t1" });
export const host = workerIdOf("b", { index: 0, incarnation: "t1" });
export const options = { epoch: 7, stale: undefined } as const;

export function memberAt(
  at: { readonly port: number; readonly socket: string },
  over: "tcp" | "unix" = "unix",
  id: WorkerId = host,
): Member {
  const worker = {
    index: 0,
    incarnation: "t1",
    address: { host: "127.0.0.1", port: at.port, socket: at.socket, lifeline: 0 },
  };
  const node = {
    id: "b",
    incarnation: "n1",
    role: "host",
    state: "up",
    machine: over === "unix" ? "here" : "elsewhere",
    zone: "",
    labels: {},
    gateway: "",
    admin: "",
    lifeline: { host: "127.0.0.1", port: 0 },
    pid: 1,
    workers: [worker],
  } as const;
  return { id, slot: "b/0", node, worker };
}

export function callOf(call: Partial<ConstructorParameters<typeof SessionCall>[0]> = {}): SessionCall {
  return new SessionCall({
    id: parseSessionKey("chat/lobby"),
    method: "POST",
    url: "http://localhost/sessions/chat/lobby/x?y=1",
    headers: ["host", "localhost", "x-twice", "1", "x-twice", "2"],
    timeoutMs: 5_000,
    ...call,
  });
}
