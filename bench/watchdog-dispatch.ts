// What it costs a request that sessions are kept apart for the watchdog: the session host alone, in thousands of rounds of a millisecond, with
// and without in turn. A tenth of them is free of whatever else the machine does. Run: node bench/watchdog-dispatch.ts

import type { IncomingMessage, ServerResponse } from "node:http";
import { SessionCall } from "#mesh";
import { parseSessionId } from "#proto";
import { SessionServer, defineMesh } from "#sessionmesh";
import { createSessionHost } from "../node/session/host.ts";
import { installSessionTicks } from "../node/session/ticks.ts";
import { installSessionTimers } from "../node/session/timers.ts";
import { turns, type Torn } from "../node/session/turns.ts";
import { newRecord } from "../node/watchdog/record.ts";
import { installWebClasses } from "../node/web/web.ts";
import { aligned } from "./report.ts";

const SESSIONS = 500;
const CLIENTS = 64;
const ROUNDS = 3_000;
const WARM_UP_ROUNDS = 1_000;

class Sync extends SessionServer {
  count = 0;
  override fetch(_request: Request): Response | Promise<Response> {
    return Response.json({ count: ++this.count });
  }
}

class Async extends Sync {
  override async fetch(request: Request): Promise<Response> {
    await Promise.resolve();
    return super.fetch(request);
  }
}

/** As the gateway makes one for each request. */
class Unhurt implements Torn {
  readonly request: IncomingMessage | undefined = undefined;
  readonly response: ServerResponse | undefined = undefined;
  torn(): void {}
}

installSessionTimers();
installWebClasses();
const { nextTick } = process;
installSessionTicks();
const sessionTick = process.nextTick;
const record = newRecord();
const host = createSessionHost({
  application: defineMesh({ sessions: { sync: Sync, async: Async } }),
  node: "bench",
  worker: 0,
  lease: { isOpen: () => true, whenOpen: () => Promise.resolve() },
  log: { debug() {}, info() {}, warn() {}, error() {} },
  callSession: () => Promise.reject(new Error("nobody calls")),
  onEnded: () => {},
});
const clients = Array.from({ length: CLIENTS }, () => ({}));

const lines = [];
for (const kind of ["sync", "async"]) {
  const ids = Array.from({ length: SESSIONS }, (_, at) => parseSessionId(kind, `s${at}`));
  for (const id of ids) host.activate(id, { epoch: 1, claim: 1 });
  const ns = { apart: new Array<number>(), mingled: new Array<number>() };
  for (let round = 0; round < ROUNDS; round++) {
    for (const apart of round % 2 === 0 ? [true, false] : [false, true]) {
      if (apart) turns.isolate(record);
      else turns.mingle();
      process.nextTick = apart ? sessionTick : nextTick;
      await new Promise((resolve) => setImmediate(resolve));
      const sinceMs = performance.now();
      for (const [at, id] of ids.entries()) {
        const call = new SessionCall({ id, method: "GET", url: "http://bench/", headers: [], timeoutMs: 30_000 });
        const reply = enter(call, at);
        if (reply instanceof Promise) await reply;
      }
      const each = ((performance.now() - sinceMs) * 1e6) / SESSIONS;
      if (round >= WARM_UP_ROUNDS) (apart ? ns.apart : ns.mingled).push(each);
    }
  }
  const [without, having] = [lowest(ns.mingled), lowest(ns.apart)];
  lines.push([kind, without.toFixed(0), having.toFixed(0), (having - without).toFixed(0)]);
}
console.log("ns a request, lowest tenth of the rounds");
console.log(aligned([["", "mingled", "kept apart", "cost"], ...lines]));
process.exit(0);

function enter(call: SessionCall, at: number): unknown {
  const first = turns.enterTop(clients[at % CLIENTS], new Unhurt());
  try {
    return host.fetch(call);
  } finally {
    if (first) turns.leaveTop();
  }
}

function lowest(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)] ?? NaN;
}
