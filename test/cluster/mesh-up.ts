// A real mesh for a test: runs the real `mesh up` with free ports in a folder of its own, and leaves no process behind, whatever
// the test did to them. Relies on nats-server, as `mesh up` finds it.

import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import type { NodeInfo } from "#node";
import { startNodeProcess, type NodeExit, type NodeProcess } from "../../cli/launch/node-process.ts";
import { eventually } from "./eventually.ts";
import { killMarked, marked, markedEnv } from "./processes.ts";

export interface MeshWish {
  /** Path of the application, from the root of the tree or absolute. */
  readonly app: string;
  readonly nodes?: number;
  readonly workers?: number;
  /** A running server instead of one of our own. */
  readonly natsUrl?: string;
  /** For every node. */
  readonly env?: Readonly<Record<string, string>>;
  /** Nodes that die are started again. Default: no, a test wants to see what their death does. */
  readonly restart?: boolean;
  /** Further arguments of `mesh up`. */
  readonly args?: readonly string[];
  /** How long it may take to start. Default: enough for a few nodes. */
  readonly readyMs?: number;
}

export interface TestMesh extends AsyncDisposable {
  readonly name: string;
  readonly nats: string;
  readonly redis: string | undefined;
  /** In the order of their ids n1, n2...; `addNode` appends. Dead ones stay in the list. */
  readonly nodes: readonly NodeInfo[];
  /** `kill(n1)`: the primary alone; with "group", its workers too, at once. */
  kill(node: string, signal?: NodeJS.Signals, whom?: "primary" | "group"): void;
  /** A node more, started by us and not by the launcher; joins the same mesh. */
  addNode(env?: Readonly<Record<string, string>>): Promise<NodeInfo>;
  /** How a node that `addNode` started ended. */
  exitOf(node: string): Promise<NodeExit>;
  /** What the launcher and the nodes printed so far, for failures. */
  readonly output: string;
  readonly launcher: Launcher;
  /** Rejects when a process was left behind, after killing it. */
  stop(): Promise<void>;
}

/** The `mesh up` process. */
export interface Launcher {
  readonly pid: number;
  /** Its working folder: where `mesh session list` finds the mesh. */
  readonly folder: string;
  readonly mark: string;
  /** What it printed so far, for failures. */
  readonly stdout: string;
  readonly stderr: string;
  readonly exited: Promise<NodeExit>;
  signal(signal: NodeJS.Signals): void;
}

/** Started nodes, ready on a machine with little to spare. */
const READY_MS = 45_000;
/** More than the launcher gives its nodes and its NATS. */
const STOP_MS = 15_000;
/** Workers end when they see that their primary is gone. */
const ORPHAN_MS = 3_000;

const ROOT = path.join(import.meta.dirname, "..", "..");
const MESH = path.join(ROOT, "cli", "mesh.ts");

/** Rejects with all that was printed when the mesh does not get ready. */
export async function startMesh(wish: MeshWish): Promise<TestMesh> {
  const app = path.resolve(ROOT, wish.app);
  const { launcher, child, firstLine } = runMeshUp(app, wish);
  const nodes: NodeInfo[] = [];
  const added: NodeProcess[] = [];
  const lines: string[] = [];
  let report: { mesh: string; nats: string; redis?: string; nodes: NodeInfo[] };
  const clear = (): void => {
    killMarked(launcher.mark);
    rmSync(launcher.folder, { recursive: true, force: true });
  };
  try {
    report = JSON.parse(
      await within(firstLine, wish.readyMs ?? READY_MS, "mesh up was not ready in time"),
    ) as typeof report;
    nodes.push(...report.nodes);
  } catch (error) {
    clear();
    throw new Error(`${String(error)}\n${launcher.stdout}\n${launcher.stderr}`, { cause: error });
  }

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= stopAll());
  async function stopAll(): Promise<void> {
    for (const node of added) node.signal("SIGINT");
    child.kill("SIGINT");
    const ended = Promise.all([launcher.exited, ...added.map((node) => node.exited)]);
    try {
      await within(ended, STOP_MS, "the mesh did not end in time");
      // The primaries of added nodes are gone; their workers notice that a moment later.
      await eventually(() => marked(launcher.mark).length === 0, ORPHAN_MS).catch(() => {});
      const left = marked(launcher.mark).map(({ pid, command }) => `${pid} ${command}`);
      if (left.length > 0) throw new Error(`left behind: ${left.join("; ")}`);
    } finally {
      clear();
    }
  }

  return {
    name: report.mesh,
    nats: report.nats,
    redis: report.redis,
    nodes,
    launcher,
    kill(id, signal = "SIGKILL", whom = "primary") {
      const node = nodes.find((one) => one.id === id);
      if (node === undefined) throw new Error(`no node ${id}`);
      process.kill(whom === "group" ? -node.pid : node.pid, signal);
    },
    async addNode(env = {}) {
      const id = `n${nodes.length + 1}`;
      const node = startNodeProcess({
        id,
        app,
        env: {
          ...process.env,
          ...markedEnv(launcher.mark),
          NATS_URL: report.nats,
          ...(report.redis === undefined ? {} : { REDIS_URL: report.redis }),
          MESH_NAME: report.mesh,
          MESH_NODE: id,
          MESH_WORKERS: String(wish.workers ?? 2),
          MESH_BIND: "127.0.0.1",
          MESH_HOST: "127.0.0.1",
          MESH_PORT: "0",
          MESH_ADMIN_PORT: "0",
          ...wish.env,
          ...env,
        },
        onLine: (line) => lines.push(`${id} ${line}`),
      });
      added.push(node);
      const info = await node.ready.catch((cause: unknown) => {
        throw new Error([String(cause), ...lines].join("\n"), { cause });
      });
      nodes.push(info);
      return info;
    },
    exitOf(id) {
      const node = added.find((one) => one.id === id);
      if (node === undefined) throw new Error(`addNode did not start ${id}`);
      return node.exited;
    },
    get output() {
      return [launcher.stderr, ...lines].join("\n");
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** `mesh up` alone, ready or not, for tests of the launcher itself. */
export function runMeshUp(
  app: string,
  wish: Omit<MeshWish, "app">,
): { readonly launcher: Launcher; readonly child: ChildProcess; readonly firstLine: Promise<string> } {
  const mark = randomUUID();
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  const { NATS_URL: _nats, REDIS_URL: _redis, ...env } = process.env;
  const args = ["--nodes", wish.nodes ?? 3, "--workers", wish.workers ?? 2, "--port", 0, "--admin-port", 0].map(String);
  if (wish.restart !== true) args.push("--no-restart");
  const child = spawn(process.execPath, [MESH, "up", app, "--json", ...args, ...(wish.args ?? [])], {
    cwd: folder,
    env: { ...env, ...wish.env, ...markedEnv(mark), ...(wish.natsUrl === undefined ? {} : { NATS_URL: wish.natsUrl }) },
    // The channel tells the launcher to end its mesh when the test runner dies.
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let stdout = "";
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  const firstLine = new Promise<string>((resolve, reject) => {
    if (child.stdout === null) return reject(new Error("mesh up has no stdout"));
    createInterface({ input: child.stdout }).on("line", (line) => {
      stdout += `${line}\n`;
      resolve(line);
    });
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`mesh up ended with code ${code}`)));
  });
  // Tests of failures look at the exit alone.
  firstLine.catch(() => {});
  const exited = new Promise<NodeExit>((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  const launcher: Launcher = {
    pid: child.pid ?? 0,
    folder,
    mark,
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    exited,
    signal: (signal) => void child.kill(signal),
  };
  return { launcher, child, firstLine };
}

async function within<T>(promise: Promise<T>, limitMs: number, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} (${limitMs} ms)`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
