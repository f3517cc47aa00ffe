// Three real nodes of two workers under traffic: what the death, the arrival and the leave of a member cost, and what they do not.

import { randomUUID } from "node:crypto";
import path from "node:path";
import { onTestFinished, expect, test } from "vitest";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { startNodeProcess } from "../../cli/launch/node-process.ts";
import { count, CounterClient, whereIs, type Outcome } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { violations, type Fault } from "./history.ts";
import { runMeshUp, type TestMesh } from "./mesh-up.ts";
import { killMarked, marked, markedEnv } from "./processes.ts";
import { openSocket } from "./socket-client.ts";
import { gatewayOf, ownMesh, sessionWhere, viewOf, workerPids } from "./test-mesh.ts";
import { hostsOf, Traffic } from "./traffic.ts";

const APP = path.join(import.meta.dirname, "app.ts");
const SESSIONS = Array.from({ length: 60 }, (_, at) => `counter/s${at}`);
const CLIENTS = 12;
/** A fault that hits fewer proves little. */
const VICTIMS_MIN = 5;
/** For whatever the mesh does by itself. */
const RECOVERY_MS = 10_000;
/** Until every name of a killed host counts again. Under a second on a machine at rest; silence alone would take evictMs, 3 s. */
const NAMES_BACK_MS = 2_500;
/** Until a silent node is evicted and its names count again: evictMs is 3 s. */
const SILENCE_MS = 30_000;
const REPLACED_MS = 20_000;
/** Longer than a lease lasts: an outage that nothing bridged would suspend and end sessions. */
const OUTAGE_MS = 6_000;

test.for<[string, (mesh: TestMesh) => { pids: number[]; kill: () => void }]>([
  [
    "a worker",
    (mesh) => {
      const { pid } = mesh.nodes[1]!.workers[1]!;
      return { pids: [pid], kill: () => process.kill(pid, "SIGKILL") };
    },
  ],
  [
    "a node's primary",
    (mesh) => ({
      pids: mesh.nodes[1]!.workers.map((worker) => worker.pid),
      kill: () => mesh.kill("n2", "SIGKILL", "primary"),
    }),
  ],
  [
    "every process of a node",
    (mesh) => ({
      pids: mesh.nodes[1]!.workers.map((worker) => worker.pid),
      kill: () => mesh.kill("n2", "SIGKILL", "group"),
    }),
  ],
])("kill -9 of %s ends the sessions that lived there and nothing else", async ([what, victimOf]) => {
  const mesh = await ownMesh({ nodes: 3, workers: 2 });
  const { pids, kill } = victimOf(mesh);
  const survivors = mesh.nodes.filter((node) => node.id !== "n2");
  const sockets = await openSocketsBeside(mesh, pids);
  const traffic = new Traffic({ gateways: () => survivors, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, RECOVERY_MS)));
  const there = await sessionsOn(traffic, pids);

  const atMs = performance.now();
  kill();
  const backMs = await Promise.all(
    there.map(async (session) => (await freshServer(traffic, session, pids)).endedMs - atMs),
  );
  const fault: Fault = { what, atMs, overMs: performance.now(), pids, node: "n2" };
  if (what === "a worker") {
    const now = await eventually(async () => {
      const workers = await workerPids(mesh, "n2");
      return workers.length === 2 && !workers.includes(pids[0]!) && workers;
    }, REPLACED_MS);
    await eventually(async () => (await viewOf(mesh)).get("n2")?.workers === 2, REPLACED_MS);
    // The replacement takes sessions like any other worker.
    await eventually(
      async () => now.includes((await whereIs(survivors[0]!.gateway, `counter/${randomUUID()}`)).pid),
      REPLACED_MS,
    );
  } else {
    await eventually(async () => !(await viewOf(mesh)).has("n2"), RECOVERY_MS);
    await eventually(() => mesh.nodes[1]!.workers.every(({ pid }) => !isAlive(pid)), RECOVERY_MS);
  }
  const history = await traffic.stop();
  report(what, there.length, backMs, history.length, history.filter((one) => one.outcome.status !== "counted").length);
  expect(violations(history, [fault])).toEqual([]);
  expect(Math.max(...backMs)).toBeLessThan(NAMES_BACK_MS);
  const restarted = there.map((session) =>
    history.some(
      (one) =>
        one.session === session &&
        one.startedMs > atMs &&
        one.outcome.status === "counted" &&
        one.outcome.answer.count === 1,
    ),
  );
  expect(restarted.filter(Boolean).length).toBe(there.length);
  for (const socket of sockets) {
    socket.socket.send("still here");
    await socket.has(1);
  }
});

test("a worker that dies leaves no client of its gateway without an answer or a reset", async () => {
  const mesh = await ownMesh({ nodes: 1, workers: 2 });
  // A new connection for each request: some are always on their way to the worker that dies.
  const client = new CounterClient({ keepAlive: false, limitMs: RECOVERY_MS });
  onTestFinished(() => client.close());
  let killed = false;
  const outcomes: Outcome[] = [];
  const asking = Array.from({ length: 40 }, async () => {
    while (!killed) outcomes.push(await client.count(gatewayOf(mesh), "/sessions/spread/asked"));
  });
  for (let kill = 0; kill < 3; kill++) {
    const pids = await eventually(async () => {
      const now = await workerPids(mesh, "n1");
      return now.length === 2 && (await viewOf(mesh)).get("n1")?.workers === 2 && now;
    }, REPLACED_MS);
    const before = outcomes.length;
    await eventually(() => outcomes.length > before + 100, RECOVERY_MS);
    process.kill(pids[kill % 2]!, "SIGKILL");
  }
  await eventually(async () => (await workerPids(mesh, "n1")).length === 2, REPLACED_MS);
  killed = true;
  await Promise.all(asking);
  expect(outcomes.filter((outcome) => outcome.status === "hung")).toEqual([]);
});

test("a node that joins under traffic costs no request and no session, and takes new sessions", async () => {
  const mesh = await ownMesh({ nodes: 3, workers: 2 });
  const traffic = new Traffic({ gateways: () => mesh.nodes, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, RECOVERY_MS)));
  const joined = await mesh.addNode();
  const fresh = await eventually(async () => {
    const asked = await traffic.ask(`counter/${randomUUID()}`);
    return asked.outcome.status === "counted" && asked.outcome.answer.node === joined.id && asked.session;
  }, RECOVERY_MS);
  for (const node of mesh.nodes) expect((await count(node.gateway, fresh)).node).toBe(joined.id);
  // Its workers know no route yet: each of these asks the directory, a quarter of which has just changed hands.
  for (const session of SESSIONS) await traffic.ask(session, joined);
  const history = await traffic.stop();
  // Not the fresh one: it was counted outside of the history as well.
  expect(
    violations(
      history.filter((one) => one.session !== fresh),
      [],
    ),
  ).toEqual([]);
});

test("labels send a session to a node that carries them, and no_host says that none does", async () => {
  const mesh = await ownMesh({ nodes: 1, workers: 1 });
  const refused = await fetch(`${gatewayOf(mesh)}/sessions/ssd/early`);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: "no_host", retryable: true });
  expect(refused.headers.get("retry-after")).toBeTruthy();
  const labelled = await mesh.addNode({ MESH_LABELS: "disk=ssd,tier=gold" });
  for (let at = 0; at < 10; at++) expect((await count(gatewayOf(mesh), `ssd/${at}`)).node).toBe(labelled.id);
});

test("a node with the gateway role takes clients and hosts nothing", async () => {
  const mesh = await ownMesh({ nodes: 1, workers: 1 });
  const gateway = await mesh.addNode({ MESH_ROLE: "gateway" });
  for (let at = 0; at < 20; at++) {
    expect(await count(gateway.gateway, `spread/g${at}`)).toMatchObject({ count: 1, node: "n1" });
    expect(await count(gatewayOf(mesh), `spread/g${at}`)).toMatchObject({ count: 2, node: "n1" });
  }
  const created = await fetch(`${gateway.gateway}/sessions/counter`, { method: "POST" });
  expect(created.status).toBe(201);
});

test("a draining node keeps its sessions until they finish, takes no new ones, and then leaves with code 0", async () => {
  const mesh = await ownMesh({ nodes: 2, workers: 2, env: { MESH_DRAIN_MS: "60000" } });
  const leaving = await mesh.addNode();
  const others = mesh.nodes.filter((node) => node.id !== leaving.id);
  // An open socket keeps a session of this class; without one it stops after 300 ms.
  const holder = await eventually(async () => {
    const session = `idle/${randomUUID()}`;
    const { socket } = await openSocket(others[0]!.gateway, session);
    const where = await whereIs(others[0]!.gateway, session);
    return where.node === leaving.id && { socket, session, where };
  }, RECOVERY_MS);
  const traffic = new Traffic({ gateways: () => others, sessions: [holder.session], clients: 2 });

  mesh.kill(leaving.id, "SIGTERM");
  await eventually(async () => (await viewOf(mesh)).get(leaving.id)?.state === "draining", RECOVERY_MS);
  const fresh = await Promise.all(
    Array.from({ length: 60 }, (_, at) =>
      count(others[at % 2]!.gateway, `${at % 4 < 2 ? "counter" : "spread"}/${randomUUID()}`),
    ),
  );
  expect(fresh.filter((one) => one.node === leaving.id)).toEqual([]);
  expect((await whereIs(others[1]!.gateway, holder.session)).instance).toBe(holder.where.instance);
  const history = await traffic.stop();
  expect(history.filter((one) => one.outcome.status !== "counted")).toEqual([]);
  expect(new Set(history.map((one) => one.outcome.status === "counted" && one.outcome.answer.instance)).size).toBe(1);

  holder.socket.close();
  expect(await mesh.exitOf(leaving.id)).toEqual({ code: 0, signal: null });
  expect((await viewOf(mesh)).has(leaving.id)).toBe(false);
});

test("a draining node stops idle sessions at once, in order, and leaves when nothing is under way", async () => {
  const mesh = await ownMesh({ nodes: 2, workers: 2, env: { MESH_DRAIN_MS: "60000" } });
  const leaving = await mesh.addNode();
  const other = mesh.nodes.find((node) => node.id !== leaving.id)!;
  const names = Array.from({ length: 60 }, () => `counter/${randomUUID()}`);
  const before = await Promise.all(names.map((name) => count(leaving.gateway, name)));
  const there = names.filter((_, at) => before[at]!.node === leaving.id);
  expect(there.length).toBeGreaterThan(5);

  const atMs = performance.now();
  mesh.kill(leaving.id, "SIGTERM");
  expect(await mesh.exitOf(leaving.id)).toEqual({ code: 0, signal: null });
  // Without, it would be the limit of a minute.
  expect(performance.now() - atMs).toBeLessThan(RECOVERY_MS);
  expect((await viewOf(mesh)).has(leaving.id)).toBe(false);
  for (const name of there) expect(await count(other.gateway, name)).toMatchObject({ count: 1 });
});

test("past the drain limit a node stops its sessions and leaves; no request through the others fails", async () => {
  const mesh = await ownMesh({ nodes: 2, workers: 2, env: { MESH_DRAIN_MS: "1000" } });
  const leaving = await mesh.addNode();
  const others = mesh.nodes.filter((node) => node.id !== leaving.id);
  const traffic = new Traffic({ gateways: () => others, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, RECOVERY_MS)));
  const pids = leaving.workers.map((worker) => worker.pid);
  const there = await sessionsOn(traffic, pids);

  const atMs = performance.now();
  mesh.kill(leaving.id, "SIGTERM");
  expect(await mesh.exitOf(leaving.id)).toEqual({ code: 0, signal: null });
  await Promise.all(there.map((session) => freshServer(traffic, session, pids)));
  const history = await traffic.stop();
  const drain: Fault = { what: "drain", atMs, overMs: performance.now(), pids, node: leaving.id };
  // The drain explains why servers ended; it excuses no failure.
  expect(history.filter((one) => one.outcome.status !== "counted")).toEqual([]);
  expect(violations(history, [drain])).toEqual([]);
});

test("a node that is frozen past its lease is evicted, and on waking answers with none of its old servers", async () => {
  const mesh = await ownMesh({ nodes: 3, workers: 1 });
  const survivors = mesh.nodes.filter((node) => node.id !== "n3");
  const pids = mesh.nodes[2]!.workers.map((worker) => worker.pid);
  const traffic = new Traffic({ gateways: () => survivors, sessions: SESSIONS, clients: CLIENTS });
  await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, RECOVERY_MS)));
  const there = await sessionsOn(traffic, pids);

  const atMs = performance.now();
  mesh.kill("n3", "SIGSTOP", "group");
  const backMs = await Promise.all(
    there.map(async (session) => (await freshServer(traffic, session, pids)).endedMs - atMs),
  );
  const overMs = performance.now();
  mesh.kill("n3", "SIGCONT", "group");
  const old = gatewayOf(mesh, "n3");
  // Its gateway has another port in its next life. The woken node is asked like all others, and must not tell of the view that it knew.
  const told: (string | undefined)[] = [];
  const back = await eventually(async () => {
    const node = (await viewOf(mesh)).get("n3");
    told.push(node?.gateway);
    return node !== undefined && node.gateway !== old && node;
  }, SILENCE_MS);
  expect(told).not.toContain(old);
  for (const session of there) {
    const { outcome } = await traffic.ask(session, { id: "n3", gateway: back.gateway });
    expect(outcome).toMatchObject({ status: "counted" });
  }
  const history = await traffic.stop();
  report(
    "a frozen node",
    there.length,
    backMs,
    history.length,
    history.filter((one) => one.outcome.status !== "counted").length,
  );
  expect(violations(history, [{ what: "SIGSTOP", atMs, overMs, pids, node: "n3", silent: true }])).toEqual([]);
});

test.for(["with its store", "with an empty store"])(
  "NATS that is killed, away for seconds and back %s costs no request and no session",
  async (how) => {
    const nats = await ownNats();
    const mesh = await ownMesh({ nodes: 3, workers: 1, natsUrl: nats.url });
    const traffic = new Traffic({ gateways: () => mesh.nodes, sessions: SESSIONS, clients: CLIENTS });
    await Promise.all(SESSIONS.map((session) => traffic.askUntilCounted(session, RECOVERY_MS)));
    const atMs = performance.now();
    await nats.kill("SIGKILL");
    await eventually(() => performance.now() - atMs > OUTAGE_MS, OUTAGE_MS + 1_000);
    // Sessions are created meanwhile, too.
    await Promise.all(Array.from({ length: 20 }, () => traffic.askUntilCounted(`counter/${randomUUID()}`, 0)));
    await ownNats({ port: nats.port, ...(how === "with its store" ? { storeDir: nats.storeDir } : {}) });
    // That a node can join proves that the registry takes changes again.
    const joined = await mesh.addNode();
    for (const session of SESSIONS) await traffic.ask(session, joined);
    const history = await traffic.stop();
    expect(violations(history, [])).toEqual([]);
    expect((await viewOf(mesh)).size).toBe(4);
  },
);

test("without NATS a node and mesh up say so and end", async () => {
  const nats = await ownNats();
  await nats.kill();
  const { launcher } = runMeshUp(APP, { nodes: 2, natsUrl: nats.url });
  onTestFinished(() => killMarked(launcher.mark));
  expect(await launcher.exited).toEqual({ code: 1, signal: null });
  expect(launcher.stderr).toContain(nats.url);
  expect(launcher.stdout).toBe("");
  expect(marked(launcher.mark)).toEqual([]);

  const env = { NATS_URL: nats.url, MESH_NODE: "n1", MESH_BIND: "127.0.0.1", MESH_PORT: "0", MESH_ADMIN_PORT: "0" };
  const node = startNodeProcess({
    id: "n1",
    app: APP,
    env: { ...process.env, ...env, ...markedEnv(launcher.mark) },
    onLine: () => {},
  });
  const error = await node.ready.catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "registry_unavailable" });
  expect(String(error)).toContain(nats.url);
  expect((await node.exited).code).toBe(1);
});

/** Sessions that live in the processes: asks for new names until there are some. A worker that has just started takes few at first. */
async function sessionsOn(traffic: Traffic, pids: readonly number[]): Promise<readonly string[]> {
  return eventually(async () => {
    await traffic.ask(`counter/${randomUUID()}`);
    const there = pids.flatMap((pid) => hostsOf(traffic.history).get(pid) ?? []);
    return there.length >= VICTIMS_MIN && there;
  }, RECOVERY_MS);
}

/** Asks until a server answers that does not live in one of the processes. */
async function freshServer(traffic: Traffic, session: string, pids: readonly number[]) {
  return eventually(async () => {
    const asked = await traffic.ask(session);
    return asked.outcome.status === "counted" && !pids.includes(asked.outcome.answer.pid) && asked;
  }, SILENCE_MS);
}

/** One open socket on each worker that is not to be killed, through gateways that are not either. */
async function openSocketsBeside(mesh: TestMesh, pids: readonly number[]) {
  const alive = mesh.nodes
    .flatMap((node) => node.workers.map((worker) => worker.pid))
    .filter((pid) => !pids.includes(pid));
  const gateway = gatewayOf(mesh, "n3");
  return Promise.all(
    alive.map(async (pid) => {
      const { session } = await sessionWhere(gateway, "echo", `beside${pid}-`, (where) => where.pid === pid);
      return openSocket(gateway, session);
    }),
  );
}

/** Ends with the running test. */
async function ownNats(options: { port?: number; storeDir?: string } = {}): Promise<NatsServer> {
  const nats = await startNats(options);
  onTestFinished(() => nats.remove());
  return nats;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function report(what: string, sessions: number, backMs: readonly number[], requests: number, failures: number): void {
  const sorted = [...backMs].sort((a, b) => a - b);
  const half = sorted[Math.floor(sorted.length / 2)] ?? 0;
  console.log(
    `${what}: ${sessions} sessions lost; names back after ${half.toFixed(0)} ms (half), ${(sorted.at(-1) ?? 0).toFixed(0)} ms (all); ` +
      `${failures} of ${requests} requests failed`,
  );
}
