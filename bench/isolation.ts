// What each isolation class costs: the same session as an object in this process, as a thread and as a process of it. The shared one is the
// control. Run on a machine that does nothing else: node bench/isolation.ts

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SessionCall, systemClock, type SessionReply } from "#mesh";
import { parseSessionId, type SessionKey } from "#proto";
import { Enclosures, joinHosts } from "../node/enclosure/enclosures.ts";
import { createSessionHost } from "../node/session/host.ts";
import { installWebClasses, responseOf } from "../node/web/web.ts";
import { WorkerLease } from "../node/worker/worker-lease.ts";
import application from "./isolation-app.ts";

installWebClasses();

const KINDS = ["shared", "thread", "process"] as const;
/** Memory is measured over so many. */
const SESSIONS = { shared: 100_000, thread: 20, process: 10 } as const;
const STARTS = 15;
const ROUND_TRIPS = 20_000;
/** Requests under way at once for the rate. */
const CONCURRENCY = 64;
const LEASE_MS = 1_000_000;

const lease = new WorkerLease();
const hosting = {
  application,
  node: "bench",
  worker: 0,
  lease,
  log: { debug() {}, info() {}, warn() {}, error() {} },
  callSession: () => Promise.reject(new Error("nobody calls")),
  onEnded: () => {},
};
const enclosures = new Enclosures({
  ...hosting,
  app: fileURLToPath(new URL("isolation-app.ts", import.meta.url)),
  logFormat: "text",
  max: { thread: 100, process: 100 },
  turnBudgetMs: 60_000,
});
const host = joinHosts(createSessionHost(hosting), enclosures, application);
lease.extend(systemClock.now() + LEASE_MS);
enclosures.extend(systemClock.now() + LEASE_MS);

function callTo(kind: string, name: string): SessionCall {
  return new SessionCall({
    id: parseSessionId(kind, name),
    method: "GET",
    url: "http://bench/",
    headers: [],
    timeoutMs: 30_000,
  });
}

async function ask(call: SessionCall): Promise<SessionReply> {
  if (!host.has(call.id.key)) host.activate(call.id, { epoch: 1, claim: 1 });
  return await host.fetch(call);
}

/** Of this process or another, with what it shares counted by half for each of two that share it. */
function memoryOf(pid: number | "self"): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1_024;
}

async function stopAll(keys: readonly SessionKey[]): Promise<void> {
  await Promise.all(keys.map((key) => host.stop(key, "stop")));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function startMs(kind: string): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < STARTS; at++) {
    const call = callTo(kind, `start-${at}`);
    const start = performance.now();
    await ask(call);
    times.push(performance.now() - start);
    await stopAll([call.id.key]);
  }
  return median(times);
}

async function roundTripUs(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < ROUND_TRIPS; at++) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return median(times.slice(ROUND_TRIPS / 4)) * 1_000;
}

async function requestsPerSecond(call: () => SessionCall): Promise<number> {
  const start = performance.now();
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (let at = 0; at < ROUND_TRIPS / CONCURRENCY; at++) await ask(call());
    }),
  );
  return ROUND_TRIPS / ((performance.now() - start) / 1_000);
}

async function echoUs(kind: string): Promise<number> {
  let heard = Promise.withResolvers<void>();
  const call = callTo(kind, "echo");
  await ask(call);
  const reply = await host.connect(call, { send: () => heard.resolve(), buffered: 0, close() {} });
  if (reply.status === "refused") throw reply.error;
  if (reply.status === "answered") throw new Error(`answered with ${reply.reply.status}`);
  return roundTripUs(async () => {
    heard = Promise.withResolvers();
    void reply.end.message("0123456789abcdef0123456789abcdef");
    await heard.promise;
  });
}

async function bytes(kind: (typeof KINDS)[number]): Promise<number> {
  const calls = Array.from({ length: SESSIONS[kind] }, (_, at) => callTo(kind, `memory-${at}`));
  const before = memoryOf("self");
  let others = 0;
  for (const call of calls) {
    const reply = await ask(call);
    if (kind !== "process") continue;
    const { pid } = (await responseOf(reply).json()) as { pid: number };
    others += memoryOf(pid);
  }
  const each = (memoryOf("self") - before + others) / calls.length;
  await stopAll(calls.map(({ id }) => id.key));
  return each;
}

for (const kind of KINDS) {
  // The first start fills the cache of compiled code.
  await startMs(kind);
  const call = callTo(kind, "one");
  console.log(
    JSON.stringify({
      isolation: kind,
      startMs: round(await startMs(kind), 1),
      requestUs: round(await roundTripUs(() => ask(call)), 1),
      echoUs: round(await echoUs(kind), 1),
      requestsPerSecond: round(await requestsPerSecond(() => callTo(kind, "one")), 0),
      memoryMb: round((await bytes(kind)) / 1e6, 4),
    }),
  );
}
host.close();

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
