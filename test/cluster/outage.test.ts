// What the loss of NATS costs a mesh that is well otherwise, and how long the names of a killed node are gone.

import { randomUUID } from "node:crypto";
import { onTestFinished, expect, test } from "vitest";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { startTcpProxy } from "../infra/tcp-proxy.ts";
import { whereIs } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { violations, type Fault } from "./history.ts";
import { ownMesh, viewOf, workerPids } from "./test-mesh.ts";
import { hostsOf, Traffic, type Asked } from "./traffic.ts";

const SESSIONS = Array.from({ length: 40 }, (_, at) => `counter/s${at}`);
const CLIENTS = 9;
const READY_MS = 10_000;
/** For a worker to start on a busy machine, and for a NATS client to give up one attempt to connect and make another. */
const REPLACED_MS = 20_000;
/** Three times what a lease lasts. */
const OUTAGE_MS = 6_000;
/** Longer than suspendMs and evictMs together, and than NATS takes to give up a connection that says nothing. */
const ALONE_MS = 8_000;
/** Well under the 3 s that silence takes; mostly it is a fraction of a second. */
const BACK_MS = 2_500;

test("while NATS is away for 6 s every request is served, to old and new sessions through every gateway", async () => {
  const nats = await ownNats();
  const mesh = await ownMesh({ nodes: 3, workers: 2, natsUrl: nats.url });
  const traffic = new Traffic({ gateways: () => mesh.nodes, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, READY_MS)));
  const before = await viewOf(mesh);

  const atMs = performance.now();
  await nats.kill("SIGKILL");
  const fresh: Asked[] = [];
  await eventually(async () => {
    for (const node of mesh.nodes) fresh.push(await traffic.ask(`counter/${randomUUID()}`, node));
    return performance.now() - atMs > OUTAGE_MS;
  }, OUTAGE_MS + READY_MS);
  const backMs = performance.now();
  await ownNats({ port: nats.port, storeDir: nats.storeDir });
  // Nobody is found to have been evicted meanwhile, and the registry takes changes again.
  await mesh.addNode();
  await eventually(() => performance.now() - backMs > OUTAGE_MS, OUTAGE_MS + READY_MS);
  const history = await traffic.stop();

  expect(fresh.length).toBeGreaterThan(30);
  expect(violations(history, [])).toEqual([]);
  const during = history.filter((one) => one.startedMs < backMs && one.endedMs > atMs);
  const slowestMs = Math.max(...during.map((one) => one.endedMs - one.startedMs));
  console.log(
    `NATS away for ${(backMs - atMs).toFixed(0)} ms: ${during.length} requests, ${fresh.length} of them to new sessions; ` +
      `none failed, the slowest took ${slowestMs.toFixed(0)} ms`,
  );
  // One that was held back would have waited for a second and more.
  expect(slowestMs).toBeLessThan(1_000);
  expect(mesh.output).toContain("serving on");
  expect(mesh.output).not.toContain("suspended:");
  expect(mesh.output).not.toContain("fenced:");
  const after = await viewOf(mesh);
  expect(after.size).toBe(before.size + 1);
});

test("a node that alone loses NATS for 8 s serves on through its peers, and a worker of it that dies is replaced", async () => {
  const nats = await ownNats();
  const proxy = await startTcpProxy({ host: "127.0.0.1", port: nats.port });
  onTestFinished(() => proxy.close());
  const mesh = await ownMesh({ nodes: 2, workers: 2, natsUrl: nats.url });
  const cut = await mesh.addNode({ NATS_URL: `nats://127.0.0.1:${proxy.port}` });
  const traffic = new Traffic({ gateways: () => mesh.nodes, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, READY_MS)));

  const atMs = performance.now();
  proxy.silent = true;
  const fresh: Asked[] = [];
  await eventually(async () => {
    fresh.push(await traffic.ask(`counter/${randomUUID()}`, cut));
    return performance.now() - atMs > ALONE_MS;
  }, ALONE_MS + READY_MS);
  const history = await traffic.stop();
  expect(violations(history, [])).toEqual([]);
  expect(fresh.length).toBeGreaterThan(30);
  const slowestMs = Math.max(...history.filter((one) => one.endedMs > atMs).map((one) => one.endedMs - one.startedMs));
  console.log(
    `a node without NATS for ${ALONE_MS} ms: the slowest of ${history.length} requests took ${slowestMs.toFixed(0)} ms`,
  );
  expect(slowestMs).toBeLessThan(1_000);
  expect(mesh.output).toContain("a peer renews its lease");
  expect(mesh.output).not.toContain("suspended:");

  // A change of the view that only this node can make.
  const before = await workerPids(mesh, cut.id);
  process.kill(before[0]!, "SIGKILL");
  const replacement = await eventually(
    async () => (await workerPids(mesh, cut.id)).find((pid) => !before.includes(pid)),
    REPLACED_MS,
  );
  // It serves nothing before the view has it.
  await eventually(
    async () => (await whereIs(mesh.nodes[0]!.gateway, `counter/${randomUUID()}`)).pid === replacement,
    REPLACED_MS,
  );
  proxy.silent = false;
  await eventually(() => mesh.output.includes("by itself again"), REPLACED_MS);
  expect([...(await viewOf(mesh)).keys()]).toEqual(["n1", "n2", "n3"]);
  expect(mesh.output).not.toContain("suspended:");
  expect(mesh.output).not.toContain("fenced:");
});

test("kill -9 of a whole node: its names are back long before silence would have told", async () => {
  const mesh = await ownMesh({ nodes: 3, workers: 2 });
  const survivors = mesh.nodes.filter((node) => node.id !== "n2");
  const pids = mesh.nodes[1]!.workers.map((worker) => worker.pid);
  const traffic = new Traffic({ gateways: () => survivors, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, READY_MS)));
  // How many of the first names came to live there is chance.
  const there = await eventually(async () => {
    await traffic.ask(`counter/${randomUUID()}`);
    const found = pids.flatMap((pid) => hostsOf(traffic.history).get(pid) ?? []);
    return found.length > 5 && found;
  }, READY_MS);

  const atMs = performance.now();
  mesh.kill("n2", "SIGKILL", "group");
  const backMs = await Promise.all(
    there.map((session) =>
      eventually(async () => {
        const { outcome, endedMs } = await traffic.ask(session);
        return outcome.status === "counted" && !pids.includes(outcome.answer.pid) && endedMs - atMs;
      }, READY_MS),
    ),
  );
  const fault: Fault = { what: "kill -9", atMs, overMs: performance.now(), pids, node: "n2" };
  const history = await traffic.stop();
  const lastMs = Math.max(...backMs);
  console.log(`kill -9 of a node: ${there.length} names lost; all were back after ${lastMs.toFixed(0)} ms`);
  expect(lastMs).toBeLessThan(BACK_MS);
  expect(violations(history, [fault])).toEqual([]);
  expect([...(await viewOf(mesh)).keys()]).toEqual(["n1", "n3"]);
});

test("two of three nodes killed at once, and the third has all names at once", async () => {
  const mesh = await ownMesh({ nodes: 3, workers: 1 });
  const survivors = mesh.nodes.slice(0, 1);
  const traffic = new Traffic({ gateways: () => survivors, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, READY_MS)));
  const dead = mesh.nodes.slice(1).flatMap((node) => node.workers.map((worker) => worker.pid));
  const atMs = performance.now();
  for (const id of ["n2", "n3"]) mesh.kill(id, "SIGKILL", "group");
  await Promise.all(
    SESSIONS.map((session) =>
      eventually(async () => {
        const { outcome } = await traffic.ask(session);
        return outcome.status === "counted" && !dead.includes(outcome.answer.pid);
      }, READY_MS),
    ),
  );
  const tookMs = performance.now() - atMs;
  console.log(`kill -9 of two of three nodes: all names were back after ${tookMs.toFixed(0)} ms`);
  expect(tookMs).toBeLessThan(BACK_MS);
  await traffic.stop();
});

/** Ends with the running test. */
async function ownNats(options: { port?: number; storeDir?: string } = {}): Promise<NatsServer> {
  const nats = await startNats(options);
  onTestFinished(() => nats.remove());
  return nats;
}
