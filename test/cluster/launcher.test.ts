// The launcher leaves nothing behind, however it ends, and says clearly why a mesh cannot start.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { runMeshUp, startMesh, type Launcher, type TestMesh } from "./mesh-up.ts";
import { killMarked, marked } from "./processes.ts";

const APP = path.join(import.meta.dirname, "counter-app.ts");
const MESH = path.join(import.meta.dirname, "..", "..", "cli", "mesh.ts");

/** Far more than it takes; a machine under load must not fail a test about something else. */
const POLL_MS = 20_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

test("the ready line names every node with the addresses and processes it has", async () => {
  const mesh = await start();
  expect(mesh.nodes.map((node) => node.id)).toEqual(["n1", "n2"]);
  for (const node of mesh.nodes) {
    expect(node.workers.map((worker) => worker.index)).toEqual([0, 1]);
    for (const pid of [node.pid, ...node.workers.map((worker) => worker.pid)])
      expect(() => process.kill(pid, 0)).not.toThrow();
    const answer = await fetch(`${node.gateway}/sessions/counter/${node.id}`);
    expect(await answer.json()).toEqual({ count: 1 });
  }
});

test("the mesh is asked from the folder of mesh up without naming its NATS", async () => {
  const mesh = await start();
  await fetch(`${mesh.nodes[0]?.gateway}/sessions/counter/alice`);
  expect(await ask(mesh.launcher, ["session", "count", "--json"])).toMatchObject({ count: 1 });
  expect(await ask(mesh.launcher, ["session", "list", "--json"])).toMatchObject({
    sessions: [{ kind: "counter", name: "alice" }],
  });
  expect(await ask(mesh.launcher, ["session", "get", "counter/alice", "--json"])).toMatchObject({ name: "alice" });
  expect(await ask(mesh.launcher, ["node", "list", "--json"])).toMatchObject({ nodes: [{ id: "n1" }, { id: "n2" }] });
  expect(await ask(mesh.launcher, ["registry", "view", "--json"])).toMatchObject({
    nodes: [{ id: "n1" }, { id: "n2" }],
  });
  const table = await run(mesh.launcher, ["session", "list"]);
  expect(table.split("\n")[0]).toMatch(/^SESSION +NODE +WORKER +STATE/);
  await expect(run(mesh.launcher, ["session", "get", "counter/bob"])).rejects.toThrow("counter/bob is not active");
  await expect(run(mesh.launcher, ["node", "list", "--mesh", "other"])).rejects.toThrow(
    'no node of a mesh named "other" answers',
  );
});

test("a node that dies is reported and the others go on", async () => {
  const mesh = await start();
  mesh.kill("n1", "SIGKILL", "group");
  await expect
    .poll(() => mesh.launcher.stderr, { timeout: POLL_MS })
    .toContain("node n1 died (SIGKILL); 1 node goes on");
  const added = await mesh.addNode();
  expect((await fetch(`${added.gateway}/sessions/counter/late`)).status).toBe(200);
});

test("a node that died is started again at its ports, and the address of all lives meanwhile", async () => {
  const mesh = await startMesh({ app: APP, nodes: 2, workers: 1, restart: true });
  cleanups.push(() => mesh.stop());
  const { gateway } = JSON.parse(mesh.launcher.stdout) as { gateway: string };
  // A connection each: the kernel gives every one to whom it likes.
  const ask = async () =>
    (await fetch(`${gateway}/sessions/counter/alice`, { headers: { connection: "close" } })).status;
  for (let n = 0; n < 10; n++) expect(await ask()).toBe(200);
  const [dead] = mesh.nodes;
  mesh.kill("n1", "SIGKILL", "group");
  // What waited in the queues of the dead is reset; their sockets are gone as soon as they are.
  await expect.poll(() => ask().catch(() => 0), { timeout: POLL_MS }).toBe(200);
  await expect
    .poll(() => mesh.launcher.stderr, { timeout: POLL_MS })
    .toMatch(
      /node n1 died \(SIGKILL\); 1 node goes on; starting it again\n[^]*node n1 is back after \d+\.\d s: pid \d+, http:/,
    );
  expect(mesh.launcher.stderr).toContain(dead?.gateway);
  expect((await fetch(`${dead?.gateway}/sessions/counter/bob`)).status).toBe(200);
  mesh.kill("n2", "SIGKILL", "group");
  await expect.poll(() => mesh.launcher.stderr, { timeout: POLL_MS }).toContain("node n2 is back after");
});

test("the example serves requests and sockets from two nodes", async () => {
  const mesh = await startMesh({ app: "examples/hello/app.ts", nodes: 2, workers: 1 });
  cleanups.push(() => mesh.stop());
  const urls = mesh.nodes.map((node) => node.gateway);
  for (const [at, url] of urls.entries()) {
    const answer = await fetch(`${url}/sessions/counter/alice`);
    expect(await answer.json()).toMatchObject({ session: "alice", count: at + 1 });
  }
  const [one, other] = urls.map((url) => new WebSocket(`${url.replace("http", "ws")}/sessions/chat/lobby`));
  if (one === undefined || other === undefined) throw new Error("there are two nodes");
  await Promise.all([one, other].map((socket) => once(socket, "open")));
  const heard = new Promise((resolve) => {
    one.addEventListener("message", ({ data }) => {
      if (data === "hello") resolve(data);
    });
  });
  other.send("hello");
  expect(await heard).toBe("hello");
  one.close();
  other.close();
});

test("workers whose primary was killed end without a word", async () => {
  const mesh = await start();
  mesh.kill("n1", "SIGKILL");
  const gone = mesh.nodes[0]?.workers.map((worker) => worker.pid) ?? [];
  await expect
    .poll(() => marked(mesh.launcher.mark).filter(({ pid }) => gone.includes(pid)), { timeout: POLL_MS })
    .toEqual([]);
  await expect.poll(() => mesh.launcher.stderr, { timeout: POLL_MS }).toContain("node n1 died (SIGKILL)");
  expect(mesh.launcher.stderr).not.toContain("debugger");
});

test("when every node has died, mesh up ends with 1", async () => {
  const mesh = await start();
  for (const node of mesh.nodes) mesh.kill(node.id, "SIGKILL", "group");
  expect(await mesh.launcher.exited).toEqual({ code: 1, signal: null });
  expect(mesh.launcher.stderr).toContain("every node has died");
});

test("Ctrl-C ends every process and removes the state file", async () => {
  const mesh = await start();
  expect(marked(mesh.launcher.mark).length).toBeGreaterThan(6);
  expect(existsSync(path.join(mesh.launcher.folder, ".mesh", "up.json"))).toBe(true);
  const sockets = readEnv(mesh.nodes[0]?.pid ?? 0, "MESH_SOCKET_DIR");
  expect(readdirSync(sockets)).toHaveLength(4);
  mesh.launcher.signal("SIGINT");
  expect(await mesh.launcher.exited).toEqual({ code: 0, signal: null });
  expect(marked(mesh.launcher.mark)).toEqual([]);
  expect(existsSync(sockets)).toBe(false);
  expect(existsSync(path.join(mesh.launcher.folder, ".mesh", "up.json"))).toBe(false);
});

test("a second Ctrl-C kills a node that is stuck", async () => {
  const mesh = await start();
  // Stopped processes cannot act on the first signal.
  mesh.kill("n2", "SIGSTOP", "group");
  mesh.launcher.signal("SIGINT");
  mesh.launcher.signal("SIGTERM");
  expect(await mesh.launcher.exited).toEqual({ code: 0, signal: null });
  expect(marked(mesh.launcher.mark)).toEqual([]);
});

test("the death of the launcher ends every process", async () => {
  const mesh = await start();
  const folder = storeOf(mesh.launcher);
  mesh.launcher.signal("SIGKILL");
  await mesh.launcher.exited;
  await expect.poll(() => marked(mesh.launcher.mark), { timeout: POLL_MS }).toEqual([]);
  expect(existsSync(folder)).toBe(false);
});

test("a taken port is named with the option that moves it", async () => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const launcher = fail(APP, ["--nodes", "1", "--port", String(port)]);
  expect((await launcher.exited).code).toBe(1);
  expect(launcher.stderr).toContain(`port ${port} is taken (it is for all nodes together)`);
  expect(launcher.stderr).toContain("--port");
});

test.for([
  ["a syntax error", "export default {{{", /app\.ts/],
  ["no mesh exported", "export const a = 1;", /defineMesh/],
] as const)("an application with %s is reported once and ends everything", async ([, source, message]) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const app = path.join(folder, "app.ts");
  writeFileSync(app, source);
  const launcher = fail(app, ["--nodes", "2"]);
  expect((await launcher.exited).code).toBe(1);
  expect(launcher.stderr).toMatch(message);
  expect(launcher.stderr.match(/could not start/g)).toHaveLength(1);
  expect(launcher.stdout).toBe("");
  expect(marked(launcher.mark)).toEqual([]);
});

async function start(): Promise<TestMesh> {
  const mesh = await startMesh({ app: APP, nodes: 2, workers: 2 });
  cleanups.push(() => mesh.stop());
  return mesh;
}

function fail(app: string, args: readonly string[]): Launcher {
  const { launcher } = runMeshUp(app, { workers: 1, args });
  cleanups.push(() => {
    killMarked(launcher.mark);
    rmSync(launcher.folder, { recursive: true, force: true });
  });
  return launcher;
}

async function run(launcher: Launcher, args: readonly string[]): Promise<string> {
  const { NATS_URL: _, ...env } = process.env;
  return (await promisify(execFile)(process.execPath, [MESH, ...args], { cwd: launcher.folder, env })).stdout;
}

async function ask(launcher: Launcher, args: readonly string[]): Promise<unknown> {
  return JSON.parse(await run(launcher, args));
}

function readEnv(pid: number, name: string): string {
  const entries = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  return entries.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
}

function storeOf(launcher: Launcher): string {
  const server = marked(launcher.mark).find((one) => / -sd /.test(one.command) && !one.command.includes("keeper"));
  const folder = server?.command.split(" -sd ")[1]?.split(" ")[0];
  if (folder === undefined) throw new Error("no nats-server runs");
  return folder;
}
