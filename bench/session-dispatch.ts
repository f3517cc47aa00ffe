// What the session host adds to a handler: one request to one of 10,000 sessions, beside the control, the same handler called on a
// plain object from a Map. Run: node bench/session-dispatch.ts

import { SessionCall } from "#mesh";
import { parseSessionId } from "#proto";
import { SessionServer, defineMesh } from "#sessionmesh";
import { createSessionHost } from "../node/session/host.ts";
import { installWebClasses, replyOf, requestOf } from "../node/web/web.ts";

installWebClasses();

const SESSIONS = 10_000;
const REQUESTS = 200_000;
const ROUNDS = 5;

class Counter extends SessionServer {
  count = 0;
  override fetch(_request: Request): Response {
    return Response.json({ count: ++this.count });
  }
}

class AsyncCounter extends SessionServer {
  count = 0;
  override async fetch(_request: Request): Promise<Response> {
    return Response.json({ count: ++this.count });
  }
}

class PlainCounter {
  count = 0;
  fetch(_request: Request): Response {
    return Response.json({ count: ++this.count });
  }
}

const lease = { isOpen: () => true, whenOpen: () => Promise.resolve() };
const host = createSessionHost({
  application: defineMesh({ sessions: { counter: Counter, async: AsyncCounter } }),
  node: "bench",
  worker: 0,
  lease,
  log: { debug() {}, info() {}, warn() {}, error() {} },
  callSession: () => Promise.reject(new Error("nobody calls")),
  onEnded: () => {},
});

function callsTo(kind: string): SessionCall[] {
  return Array.from({ length: SESSIONS }, (_, at) => {
    const id = parseSessionId(kind, `user-${at}`);
    return new SessionCall({ id, method: "GET", url: `http://bench/${at}`, headers: [], timeoutMs: 30_000 });
  });
}

const plain = new Map(Array.from({ length: SESSIONS }, (_, at) => [`counter/user-${at}`, new PlainCounter()]));
const counters = callsTo("counter");
const asyncs = callsTo("async");
for (const call of [...counters, ...asyncs]) host.activate(call.id, { epoch: 1, claim: 1 });

const noSignal = (): AbortSignal => new AbortController().signal;

const works = {
  control: (call: SessionCall) => {
    const counter = plain.get(call.id.key);
    if (counter !== undefined) replyOf(counter.fetch(requestOf(call, noSignal)));
  },
  session: (call: SessionCall) => host.fetch(call),
  sessionAsync: (call: SessionCall) => host.fetch(call),
};

const best: Record<string, number> = {};
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, work] of Object.entries(works)) {
    const calls = name === "sessionAsync" ? asyncs : counters;
    const start = process.hrtime.bigint();
    for (let at = 0; at < REQUESTS; at++) {
      const call = calls[at % SESSIONS];
      if (call === undefined) continue;
      const reply = work(call);
      if (reply instanceof Promise) await reply;
    }
    const ns = Number(process.hrtime.bigint() - start) / REQUESTS;
    best[name] = Math.round(Math.min(best[name] ?? Infinity, ns));
  }
}
console.log(JSON.stringify({ unit: "ns a request", ...best }));
host.close();
