// What the loss of NATS costs a mesh that is well otherwise, and how long the names of a killed node are gone.

import { randomUUID } from "node:crypto";
import { onTestFinished, expect, test } from "vitest";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { eventually } from "./eventually.ts";
import { violations, type Fault } from "./history.ts";
import { ownMesh, viewOf } from "./test-mesh.ts";
import { hostsOf, Traffic, type Asked } from "./traffic.ts";

const SESSIONS = Array.from({ length: 40 }, (_, at) => `counter/s${at}`);
const CLIENTS = 9;
const READY_MS = 10_000;
/** Three times what a lease lasts. */
const OUTAGE_MS = 6_000;
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
