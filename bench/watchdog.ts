// What the watchdog costs while nothing goes wrong: one gateway and session host, in short rounds with and without it in turn. It is the
// same process all the time, because two processes that do the same differ by more than what is measured.
//
//   node bench/watchdog.ts [rounds] [milliseconds of a round]
//   node bench/watchdog.ts flags [rounds] [milliseconds of a round]     what the flags of Node cost that it needs: new processes each round

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SessionServer, defineMesh } from "#sessionmesh";
import { MeshError, parseSessionId } from "#proto";
import { createGateway } from "../node/gateway/gateway.ts";
import { createLog } from "../node/log.ts";
import { createSessionHost } from "../node/session/host.ts";
import { installStoppableJson } from "../node/session/json.ts";
import { installSessionTimers } from "../node/session/timers.ts";
import { Watchdog } from "../node/watchdog/watchdog.ts";
import { installWebClasses } from "../node/web/web.ts";
import { KeepAliveLoad } from "./load/keep-alive.ts";
import { end, firstLine, startPinned } from "./process.ts";
import { aligned } from "./report.ts";
import { median } from "./rounds.ts";

const SESSIONS = 10_000;
const WARM_UP_MS = 2_000;
/** After each change, until the code that runs is the one for it. */
const SETTLE_MS = 500;
const FLAGS = ["--no-force-async-hooks-checks", "--no-use-osr"];
/** Kinds of sessions: answers at once, answers after an await, answers after a timer. */
const KINDS = ["sync", "async", "timer"];

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

class Timer extends Sync {
  override async fetch(request: Request): Promise<Response> {
    await sleep(1);
    return super.fetch(request);
  }
}

/** What the server is told. */
type Order = "cpu" | "on" | "off";

const words = process.argv.slice(2);
if (words[0] === "serve") {
  process.once("disconnect", () => process.exit(0));
  console.log(JSON.stringify({ port: await serve() }));
} else if (words[0] === "flags") {
  await measureFlags(Number(words[1] ?? 12), Number(words[2] ?? 1_000));
} else {
  await measureWatchdog(Number(words[0] ?? 30), Number(words[1] ?? 200));
}

async function serve(): Promise<number> {
  installSessionTimers();
  installWebClasses();
  const application = defineMesh({ sessions: { sync: Sync, async: Async, timer: Timer } });
  const log = createLog("text");
  const host = createSessionHost({
    application,
    node: "bench",
    worker: 0,
    lease: { isOpen: () => true, whenOpen: () => Promise.resolve() },
    log,
    callSession: (call) => host.fetch(call),
    onEnded: () => {},
  });
  let watchdog: Watchdog | undefined;
  const { nextTick } = process;
  const { parse, stringify } = JSON;
  const orders: Readonly<Record<Order, () => unknown>> = {
    // The kernel tells others of hundredths of a second only.
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return user + system;
    },
    on: async () => {
      installStoppableJson();
      watchdog = await Watchdog.start({
        turnBudgetMs: 1_000,
        importBudgetMs: 10_000,
        turnHeapMiB: 256,
        log,
        kill: (key, error) => host.kill(key, error),
        onLoading: () => {},
        onKilled: ({ session }) => log.error("killed", { session }),
      });
    },
    off: async () => {
      await watchdog?.close();
      process.nextTick = nextTick;
      Object.assign(JSON, { parse, stringify });
    },
  };
  process.on("message", (order: Order) => {
    void (async () => process.send?.((await orders[order]()) ?? 0))();
  });
  const gateway = createGateway({
    log,
    router: {
      kinds: () => KINDS,
      limitsOf: (kind) => application.kind(kind).options,
      route: (call) => {
        if (!host.has(call.id.key)) host.activate(call.id, { epoch: 1, claim: 1 });
        return host.fetch(call);
      },
      connect: () => ({ status: "refused", error: new MeshError("bad_upgrade", "no sockets here") }),
      createName: (kind) => parseSessionId(kind, "new"),
      activate: () => Promise.resolve(),
      eventsServed: () => 0,
      accepting: () => true,
    },
  });
  return gateway.listen({ port: 0, bind: "127.0.0.1" });
}

interface Server {
  readonly child: ChildProcess;
  readonly port: number;
}

async function measureWatchdog(rounds: number, ms: number): Promise<void> {
  const server = await start(FLAGS);
  const lines = [];
  for (const kind of KINDS) {
    using load = await KeepAliveLoad.open(server.port, pathsOf(kind));
    const us = { off: new Array<number>(), on: new Array<number>() };
    for (const setting of ["on", "off"] as const) {
      await tell(server, setting);
      await load.run(WARM_UP_MS);
    }
    for (let round = 0; round < rounds; round++) {
      // Now one is first, now the other: what drifts does so for both.
      for (const setting of round % 2 === 0 ? (["on", "off"] as const) : (["off", "on"] as const)) {
        await tell(server, setting);
        await load.run(SETTLE_MS);
        us[setting].push(await cpuUsEach(server, load, ms));
        if (setting === "on") await tell(server, "off");
      }
    }
    lines.push([kind, ...compared(us.off, us.on)]);
  }
  print("without", "with", lines);
  await end(server.child, "SIGTERM");
}

async function measureFlags(rounds: number, ms: number): Promise<void> {
  const us = KINDS.map((kind) => ({ kind, off: new Array<number>(), on: new Array<number>() }));
  for (let round = 0; round < rounds; round++) {
    for (const setting of round % 2 === 0 ? (["on", "off"] as const) : (["off", "on"] as const)) {
      const server = await start(setting === "on" ? FLAGS : []);
      for (const figures of us) {
        using load = await KeepAliveLoad.open(server.port, pathsOf(figures.kind));
        await load.run(WARM_UP_MS);
        figures[setting].push(await cpuUsEach(server, load, ms));
      }
      await end(server.child, "SIGTERM");
    }
  }
  print(
    "without",
    "with",
    us.map(({ kind, off, on }) => [kind, ...compared(off, on)]),
  );
}

function pathsOf(kind: string): string[] {
  return Array.from({ length: SESSIONS }, (_, at) => `/sessions/${kind}/s${at}`);
}

async function cpuUsEach(server: Server, load: KeepAliveLoad, ms: number): Promise<number> {
  const before = await tell(server, "cpu");
  const count = await load.run(ms);
  return ((await tell(server, "cpu")) - before) / count;
}

async function tell({ child }: Server, order: Order): Promise<number> {
  child.send(order);
  const [answer] = (await once(child, "message")) as [number];
  return answer;
}

function compared(off: readonly number[], on: readonly number[]): string[] {
  const quartile = (values: readonly number[]): string =>
    (values.toSorted((a, b) => a - b)[values.length >> 2] ?? NaN).toFixed(2);
  const costs = on.map((us, round) => (us / (off[round] ?? NaN) - 1) * 100);
  const [low, high] = confidence(costs);
  return [quartile(off), quartile(on), median(costs).toFixed(1), `(${low.toFixed(1)} to ${high.toFixed(1)})`];
}

/** Of the median, whatever the values are spread like: the ranks that it is between with 95 percent. */
function confidence(values: readonly number[]): [number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  const half = (1.96 * Math.sqrt(values.length)) / 2;
  const at = (rank: number): number => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(rank)))] ?? NaN;
  return [at(values.length / 2 - half - 0.5), at(values.length / 2 + half - 0.5)];
}

function print(off: string, on: string, lines: readonly string[][]): void {
  console.log(
    "CPU us a request, lower quartile of the rounds; cost in percent, median of the rounds, and where it is with 95 %",
  );
  console.log(aligned([["", off, on, "cost %", ""], ...lines]));
}

async function start(flags: readonly string[]): Promise<Server> {
  const child = startPinned({
    core: "server",
    command: process.execPath,
    args: [...flags, fileURLToPath(import.meta.url), "serve"],
  });
  const { port } = (await firstLine(child, "the server")) as { port: number };
  return { child, port };
}
