// What the watchdog costs while nothing goes wrong: the same gateway and session host without it, with the flags of Node that it needs,
// and with it, each in a process of its own, measured in turn.
//
//   node bench/watchdog.ts [rounds] [seconds]

import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SessionServer, defineMesh } from "sessionmesh";
import { MeshError, parseSessionId } from "#proto";
import { createGateway } from "../node/gateway/gateway.ts";
import { createLog } from "../node/log.ts";
import { createSessionHost } from "../node/session/host.ts";
import { installStoppableJson } from "../node/session/json.ts";
import { installSessionTimers } from "../node/session/timers.ts";
import { Watchdog } from "../node/watchdog/watchdog.ts";
import { installWebClasses } from "../node/web/web.ts";
import { runWrk } from "./load/wrk.ts";
import { cpuUs, end, firstLine, startPinned } from "./process.ts";
import { median } from "./rounds.ts";

const SESSIONS = 10_000;
const WARM_UP_SECONDS = 1;
const FLAGS = ["--no-force-async-hooks-checks", "--no-use-osr"];
/** Settings in which the server runs, and what Node is told in each. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = { off: [], flags: FLAGS, on: FLAGS };
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

const [, , first = "3", second = "4"] = process.argv;
if (first === "serve") {
  process.once("disconnect", () => process.exit(0));
  console.log(JSON.stringify({ port: await serve(second) }));
} else {
  await measure(Number(first), Number(second));
}

async function serve(setting: string): Promise<number> {
  installSessionTimers();
  installWebClasses();
  if (setting === "on") installStoppableJson();
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
  if (setting === "on") {
    await Watchdog.start({
      turnBudgetMs: 1_000,
      turnHeapMiB: 256,
      log,
      kill: (key, error) => host.kill(key, error),
      onKilled: ({ session }) => log.error("killed", { session }),
    });
  }
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
      accepting: () => true,
    },
  });
  return gateway.listen({ port: 0, bind: "127.0.0.1" });
}

async function measure(rounds: number, seconds: number): Promise<void> {
  const servers = await Promise.all(Object.keys(SETTINGS).map(start));
  console.log(`${"".padEnd(8)}${"".padEnd(8)} requests/s  CPU us  ratio by CPU`);
  for (const kind of KINDS) {
    const paths = { inTurn: Array.from({ length: SESSIONS }, (_, at) => `/sessions/${kind}/s${at}`) };
    const figures = servers.map((server) => ({
      ...server,
      cpuUsEach: new Array<number>(),
      perSecond: new Array<number>(),
    }));
    for (let round = 0; round < rounds; round++) {
      for (const server of figures) {
        await runWrk(server.port, paths, WARM_UP_SECONDS);
        const before = cpuUs([server.pid]);
        const { count, perSecond } = await runWrk(server.port, paths, seconds);
        server.cpuUsEach.push((cpuUs([server.pid]) - before) / count);
        server.perSecond.push(perSecond);
      }
    }
    const [off] = figures;
    for (const { name, cpuUsEach, perSecond } of figures) {
      const ratio = median(cpuUsEach.map((us, at) => (off?.cpuUsEach[at] ?? NaN) / us));
      const rate = Math.round(median(perSecond)).toLocaleString("en").padStart(11);
      console.log(
        `${kind.padEnd(8)}${name.padEnd(8)}${rate}  ${median(cpuUsEach).toFixed(1).padStart(6)}  ${ratio.toFixed(3)}`,
      );
    }
  }
  for (const { child } of servers) await end(child, "SIGTERM");
}

async function start(name: string) {
  const child = startPinned({
    core: "server",
    command: process.execPath,
    args: [...(SETTINGS[name] ?? []), fileURLToPath(import.meta.url), "serve", name],
  });
  const { port } = (await firstLine(child, name)) as { port: number };
  return { name, child, port, pid: child.pid ?? 0 };
}
