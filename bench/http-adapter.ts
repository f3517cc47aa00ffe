// What an HTTP adapter costs over bare node:http: the same counters behind the gateway, srvx and @hono/node-server, each in a process
// of its own, measured in turn. The decision that rests on it is docs/decisions/0002-http-adapter.md.
//
//   node bench/http-adapter.ts [rounds] [seconds]

import http from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { serve as serveHono } from "@hono/node-server";
import { FastResponse, serve as serveSrvx } from "srvx";
import { parseSessionId } from "#proto";
import { createGateway, type GatewayRouter } from "../node/gateway/gateway.ts";
import { createLog } from "../node/log.ts";
import { installWebClasses, replyOf, requestOf } from "../node/web/web.ts";
import { hasWrk, runWrk } from "./load/wrk.ts";
import { canPin, cpuUs, end, firstLine, startPinned } from "./process.ts";
import { median } from "./rounds.ts";

const SESSIONS = 10_000;
const WARM_UP_SECONDS = 1;

const counters = new Map<string, number>();

function count(key: string): number {
  const next = (counters.get(key) ?? 0) + 1;
  counters.set(key, next);
  return next;
}

/** What an application would write: it looks at the URL and answers with JSON. */
function handlerWith(R: typeof Response): (request: Request) => Response {
  return (request) => R.json({ count: count(request.url.slice(request.url.indexOf("/", 8))) });
}

const adapters: Record<string, () => Promise<number>> = {
  "node:http": async () => {
    const server = http.createServer((request, response) => {
      const body = JSON.stringify({ count: count(request.url ?? "/") });
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
      response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  },
  gateway: async () => {
    installWebClasses();
    const handler = handlerWith(Response);
    const limits = { maxBodyBytes: Infinity, maxMessageBytes: 65_536, requestTimeoutMs: 30_000 };
    const never = (): AbortSignal => new AbortController().signal;
    const router: GatewayRouter = {
      kinds: () => ["counter"],
      limitsOf: () => limits,
      route: (call) => replyOf(handler(requestOf(call, never)), call.id.kind),
      connect: () => {
        throw new Error("this benchmark opens no sockets");
      },
      createName: (kind) => parseSessionId(kind, "made-up"),
      activate: () => Promise.resolve(),
      eventsServed: () => 0,
      accepting: () => true,
    };
    return createGateway({ router, log: createLog("text") }).listen({ port: 0, bind: "127.0.0.1" });
  },
  srvx: async () => {
    // Its own light Response, which it recommends for speed.
    const server = serveSrvx({ port: 0, hostname: "127.0.0.1", silent: true, fetch: handlerWith(FastResponse) });
    await server.ready();
    return Number(new URL(server.url ?? "").port);
  },
  "@hono/node-server": async () =>
    new Promise((resolve) => {
      // It puts its own light Response in the place of the global one.
      serveHono({ port: 0, hostname: "127.0.0.1", fetch: (request) => handlerWith(Response)(request) }, ({ port }) =>
        resolve(port),
      );
    }),
};

const served = process.argv[2] === "serve" ? adapters[process.argv[3] ?? ""] : undefined;
if (served === undefined) {
  await measure(Number(process.argv[2] ?? 3), Number(process.argv[3] ?? 6));
} else {
  process.once("disconnect", () => process.exit(0));
  console.log(JSON.stringify({ port: await served() }));
}

async function measure(rounds: number, seconds: number): Promise<void> {
  if (!hasWrk()) throw new Error("this benchmark needs wrk on the PATH (apt-get install wrk)");
  if (!canPin) console.error("taskset or a second core is missing: server and load share the machine's cores");
  const servers = await Promise.all(Object.keys(adapters).map(start));
  const paths = { inTurn: Array.from({ length: SESSIONS }, (_, at) => `/sessions/counter/s${at}`) };
  for (let round = 1; round <= rounds; round++) {
    for (const server of servers) {
      await runWrk(server.port, paths, WARM_UP_SECONDS);
      const before = cpuUs([server.pid]);
      const { count, perSecond } = await runWrk(server.port, paths, seconds);
      server.cpuUsEach.push((cpuUs([server.pid]) - before) / count);
      server.perSecond.push(perSecond);
    }
    console.error(`round ${round} of ${rounds}`);
  }
  const [bare] = servers;
  if (bare === undefined) return;
  console.log(`${"".padEnd(18)} requests/s  CPU us  ratio  ratio by CPU`);
  for (const server of servers) {
    const ratio = median(server.perSecond.map((rate, at) => rate / (bare.perSecond[at] ?? NaN)));
    const byCpu = median(server.cpuUsEach.map((us, at) => (bare.cpuUsEach[at] ?? NaN) / us));
    const rate = Math.round(median(server.perSecond)).toLocaleString("en").padStart(10);
    const us = median(server.cpuUsEach).toFixed(1).padStart(6);
    console.log(
      `${server.name.padEnd(18)} ${rate}  ${us}  ${ratio.toFixed(2).padStart(5)}  ${byCpu.toFixed(2).padStart(12)}`,
    );
  }
  for (const server of servers) await end(server.child, "SIGTERM");
}

async function start(name: string) {
  const child = startPinned({
    core: "server",
    command: process.execPath,
    args: [...process.execArgv, fileURLToPath(import.meta.url), "serve", name],
  });
  const { port } = (await firstLine(child, name)) as { port: number };
  const pid = child.pid ?? 0;
  return { name, child, port, pid, perSecond: new Array<number>(), cpuUsEach: new Array<number>() };
}
