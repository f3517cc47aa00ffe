// Bytes of an idle session: 200,000 counters in a session host, beside the control, the same number of plain objects in a Map.
// Run: node --expose-gc bench/session-bytes.ts

import { createSessionHost } from "../node/session/host.ts";
import { parseSessionId } from "#proto";
import { SessionServer, defineMesh } from "#sessionmesh";

const SESSIONS = 200_000;

class Counter extends SessionServer {
  count = 0;
}

const { gc } = globalThis;
if (gc === undefined) throw new Error("run with --expose-gc");

function heapBytes(): number {
  gc?.();
  gc?.();
  return process.memoryUsage().heapUsed;
}

function perSession(fill: () => unknown): number {
  const before = heapBytes();
  const kept = fill();
  const bytes = (heapBytes() - before) / SESSIONS;
  if (kept === undefined) throw new Error("nothing was made");
  return bytes;
}

const control = perSession(() => {
  const map = new Map<string, { count: number }>();
  for (let at = 0; at < SESSIONS; at++) map.set(`counter/user-${at}`, { count: 0 });
  return map;
});

const host = createSessionHost({
  application: defineMesh({ sessions: { counter: Counter } }),
  node: "bench",
  worker: 0,
  lease: { isOpen: () => true, whenOpen: () => Promise.resolve() },
  log: { debug() {}, info() {}, warn() {}, error() {} },
  callSession: () => Promise.reject(new Error("nobody calls")),
  onEnded: () => {},
});
const session = perSession(() => {
  for (let at = 0; at < SESSIONS; at++) host.activate(parseSessionId("counter", `user-${at}`), { epoch: 1, claim: at });
  return host;
});

console.log(
  JSON.stringify({ sessions: host.size, controlBytes: Math.round(control), sessionBytes: Math.round(session) }),
);
host.close();
