// What the watchdog inside a worker cannot help: the primary ends the whole worker, and only that one.

import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { onTestFinished } from "vitest";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";
import { workerPids } from "./test-mesh.ts";

/** The allowance of the primary, the turn budget, and a new worker on a machine that has other work. */
const REPLACED_MS = 30_000;
/** What a worker with too many kills gives its sessions, and then to stop in order. */
const TAINTED_MS = 45_000;

interface Placed {
  readonly session: string;
  readonly pid: number;
}

async function start(env: Readonly<Record<string, string>>): Promise<{ mesh: TestMesh; gateway: string }> {
  const mesh = await startMesh({ app: "examples/faults/app.ts", nodes: 1, workers: 2, env });
  onTestFinished(() => mesh.stop());
  return { mesh, gateway: mesh.nodes[0]?.gateway ?? "" };
}

async function placed(gateway: string, session: string): Promise<Placed> {
  const response = await fetch(`${gateway}/sessions/${session}`);
  const { pid } = (await response.json()) as { pid: number };
  return { session, pid };
}

test("a worker that cannot be stopped is killed and replaced; the sessions of the other one stay", async () => {
  const { mesh, gateway } = await start({ MESH_TURN_BUDGET_MS: "200" });
  const culprit = await placed(gateway, "fault/native");
  const sessions = await Promise.all(Array.from({ length: 20 }, (_, at) => placed(gateway, `neighbour/n${at}`)));
  const spared = sessions.filter(({ pid }) => pid !== culprit.pid);
  expect(spared.length).toBeGreaterThan(0);
  // Whichever worker took the connection: its answer is an error, or the connection breaks with the worker.
  const lost = fetch(`${gateway}/sessions/fault/native/fault/native-block`).then(
    (response) => response.status,
    () => 0,
  );
  await eventually(() => mesh.output.includes("a worker does not answer; it is killed and replaced"), REPLACED_MS);
  expect([0, 502, 503, 504, 500]).toContain(await lost);
  await eventually(async () => {
    const again = await placed(gateway, "fault/native").catch(() => culprit);
    return again.pid !== culprit.pid;
  }, REPLACED_MS);
  for (const { session, pid } of spared) expect(await placed(gateway, session)).toEqual({ session, pid });
});

test("a worker that is killed leaves no socket behind", async () => {
  const { mesh, gateway } = await start({});
  const { pid } = await placed(gateway, "neighbour/n");
  const [socket = ""] = readFileSync("/proc/net/unix", "utf8").match(new RegExp(`/\\S+/mesh-${pid}-\\S+`)) ?? [];
  expect(existsSync(socket)).toBe(true);
  process.kill(pid, "SIGKILL");
  await eventually(() => !existsSync(socket), REPLACED_MS);
  await mesh.stop();
});

test("a worker that had to end too many sessions takes no new ones and is replaced", async () => {
  const { mesh, gateway } = await start({ MESH_TURN_BUDGET_MS: "50" });
  const { pid } = await placed(gateway, "fault/first");
  // The other worker is to stay as it is; and once this one is busy with spins, new sessions go to the other one.
  const sessions = await Promise.all(Array.from({ length: 60 }, (_, at) => placed(gateway, `fault/k${at}`)));
  const own = sessions.filter((one) => one.pid === pid).slice(0, 11);
  expect(own).toHaveLength(11);
  for (const { session } of own) await fetch(`${gateway}/sessions/${session}/fault/spin`);
  await eventually(() => mesh.output.includes("had to end too many sessions by force"), REPLACED_MS);
  // Its sessions live on meanwhile.
  expect((await placed(gateway, "fault/first")).pid).toBe(pid);
  const spared = await placed(gateway, "neighbour/new");
  expect(spared.pid).not.toBe(pid);
  // After 30 s they are stopped in order; the next request finds a fresh server, with the other worker's sessions untouched.
  await eventually(async () => (await placed(gateway, "fault/first")).pid !== pid, TAINTED_MS);
  await eventually(() => mesh.output.includes("a worker died"), REPLACED_MS);
  await eventually(async () => (await workerPids(mesh, "n1")).length === 2, REPLACED_MS);
  expect(await workerPids(mesh, "n1")).not.toContain(pid);
  expect(await placed(gateway, "neighbour/new")).toEqual(spared);
}, 120_000);

test("a worker whose watchdog fails its trial says so, serves, and is lost to a session that does not come back", async () => {
  const mesh = await startMesh({
    app: "test/cluster/uncontained-app.ts",
    nodes: 1,
    workers: 2,
    env: { MESH_TURN_BUDGET_MS: "200" },
  });
  onTestFinished(() => mesh.stop());
  const gateway = mesh.nodes[0]?.gateway ?? "";
  // The launcher shows what was written a moment later.
  const saidOfBoth = (text: string): boolean => mesh.output.split(text).length === 3;
  await eventually(() => saidOfBoth("a session that hogs this worker cannot be ended alone"), REPLACED_MS);
  await eventually(() => saidOfBoth("a session that spins was not ended: answered"), REPLACED_MS);
  await eventually(() => saidOfBoth("a session that hogs this worker will cost all sessions of it"), REPLACED_MS);
  const culprit = await placed(gateway, "fault/spin");
  const sessions = await Promise.all(Array.from({ length: 20 }, (_, at) => placed(gateway, `neighbour/n${at}`)));
  const spared = sessions.filter(({ pid }) => pid !== culprit.pid);
  expect(spared.length).toBeGreaterThan(0);
  await fetch(`${gateway}/sessions/fault/spin/fault/spin`).catch(() => {});
  await eventually(() => mesh.output.includes("a worker does not answer; it is killed and replaced"), REPLACED_MS);
  await eventually(async () => {
    const again = await placed(gateway, "fault/spin").catch(() => culprit);
    return again.pid !== culprit.pid;
  }, REPLACED_MS);
  for (const { session, pid } of spared) expect(await placed(gateway, session)).toEqual({ session, pid });
}, 120_000);
