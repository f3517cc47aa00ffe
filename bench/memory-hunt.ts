// What the search for a leak costs the sessions beside it: requests to a host of 1,000 and of 10,000 sessions, with memory to spare and
// with so little that it is searched all the time. Run: node bench/memory-hunt.ts

import { SessionCall } from "#mesh";
import { parseSessionId } from "#proto";
import { SessionServer, defineMesh } from "#sessionmesh";
import { LeakHunt } from "../node/memory/leak-hunt.ts";
import { MemoryGuard } from "../node/memory/memory-guard.ts";
import { createSessionHost } from "../node/session/host.ts";
import { installSessionTimers } from "../node/session/timers.ts";
import { installWebClasses } from "../node/web/web.ts";

installWebClasses();
installSessionTimers();

const RUN_MS = 8_000;
/** Requests that are answered before the event loop gets a chance. */
const BATCH = 8;
/** Nothing is that full, and nothing that empty. */
const CALM = 0.99;
const SHORT = 0.001;

/** A timer, a private field, a map: all that takes time to look at. */
class Visited extends SessionServer {
  readonly seen = new Map(Array.from({ length: 20 }, (_, at) => [at, { at, text: `${at}` }]));
  #count = 0;
  override onStart(): void {
    setInterval(() => this.#count++, 60_000);
  }
  override async fetch(): Promise<Response> {
    await Promise.resolve();
    this.seen.set(this.#count++ % 20, { at: this.#count, text: `${this.#count}` });
    return Response.json({ count: this.#count });
  }
}

interface Figures {
  readonly sessions: number;
  readonly mark: number;
  readonly requestsPerS: number;
  /** CPU time of the slices. */
  readonly sliceMs: { readonly median: number; readonly p99: number; readonly max: number };
  readonly share: number;
  /** From one look at a session to the next one. */
  readonly roundMs: number;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

const slices: number[] = [];
const run = Reflect.get(LeakHunt.prototype, "run");
LeakHunt.prototype.run = function timed(sliceMs, urgent) {
  const beganMs = cpuMs();
  try {
    return Reflect.apply(run, this, [sliceMs, urgent]);
  } finally {
    slices.push(cpuMs() - beganMs);
  }
};

async function measure(sessions: number, mark: number): Promise<Figures> {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const host = createSessionHost({
    application: defineMesh({ sessions: { visited: class extends Visited {} } }),
    node: "bench",
    worker: 0,
    lease: { isOpen: () => true, whenOpen: () => Promise.resolve() },
    log: silent,
    callSession: () => Promise.reject(new Error("nobody calls")),
    onEnded: () => {},
  });
  const calls = Array.from({ length: sessions }, (_, at) => {
    const id = parseSessionId("visited", `user-${at}`);
    host.activate(id, { epoch: 1, claim: 1 });
    return new SessionCall({ id, method: "GET", url: `http://bench/${at}`, headers: [], timeoutMs: 30_000 });
  });
  let looks = 0;
  const guard = new MemoryGuard({
    mark,
    patienceMs: 1e9,
    log: silent,
    host: {
      size: sessions,
      kill: (key) => console.error(`${key} was ended`),
      stopIdle: () => 0,
      *active(withinMs) {
        for (const cell of host.active(withinMs)) {
          if (cell !== undefined) looks++;
          yield cell;
        }
      },
    },
    onFull: () => {},
    onGivenUp: () => {},
  });
  slices.length = 0;
  let requests = 0;
  const beganMs = performance.now();
  const cpuBegan = cpuMs();
  while (performance.now() - beganMs < RUN_MS) {
    await Promise.all(
      Array.from({ length: BATCH }, async () => {
        const call = calls[requests++ % sessions];
        if (call !== undefined) await host.fetch(call);
      }),
    );
    await new Promise((resolve) => setImmediate(resolve));
  }
  const cpu = cpuMs() - cpuBegan;
  guard.close();
  const sorted = slices.toSorted((one, other) => one - other);
  const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? 0;
  return {
    sessions,
    mark,
    // By CPU time, so that other work of the machine does not count.
    requestsPerS: Math.round((requests / cpu) * 1_000),
    sliceMs: { median: at(0.5), p99: at(0.99), max: at(1) },
    share: slices.reduce((sum, ms) => sum + ms, 0) / cpu,
    roundMs: looks === 0 ? 0 : Math.round((RUN_MS * sessions) / looks),
  };
}

for (const sessions of [1_000, 10_000]) {
  for (const mark of [CALM, SHORT]) {
    const { requestsPerS, sliceMs, share, roundMs } = await measure(sessions, mark);
    console.log(
      [
        `${sessions} sessions, ${mark === CALM ? "memory to spare" : "short of memory"}: ${requestsPerS} requests/s of CPU`,
        `slices of ${sliceMs.median.toFixed(1)} ms, p99 ${sliceMs.p99.toFixed(1)}, max ${sliceMs.max.toFixed(1)}`,
        `${(share * 100).toFixed(0)} % of the time, all seen in ${roundMs} ms`,
      ].join("; "),
    );
  }
}
process.exit();
