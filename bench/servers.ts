// The servers under measurement: the controls, and real meshes from the real command line.

import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeInfo } from "#node";
import { end, firstLine, startPinned } from "./process.ts";
import type { Profile } from "./scenario.ts";

export interface Server extends AsyncDisposable {
  /** Of the gateway that the load goes to. */
  readonly port: number;
  /** All processes whose CPU counts: primaries and workers; not NATS and not the launcher, which take no part in requests. */
  readonly pids: readonly number[];
  /** The worker processes. */
  readonly workers: readonly number[];
  /** Ids of the nodes; the load goes to the first. */
  readonly nodes: readonly string[];
}

export interface ServerWish {
  /** Collect garbage when asked for the memory in use. */
  readonly exposeGc?: boolean;
  /** Write a CPU profile of each process when it ends. */
  readonly profile?: Profile | undefined;
}

export interface MeshWish extends ServerWish {
  readonly nodes: 1 | 2;
  /** `tcp` makes the two nodes believe that they are on different machines. */
  readonly link?: "unix" | "tcp";
  /** Instead of the application of the load benchmarks. */
  readonly app?: string;
  /** Of the first gateway; by default a free one. */
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Trouble is what is measured: it is not shown, and no core is reserved. */
  readonly quiet?: boolean;
}

const APP = fileURLToPath(new URL("./app.ts", import.meta.url));
const CLI = fileURLToPath(new URL("../cli/mesh.ts", import.meta.url));
const CONTROLS = {
  http: fileURLToPath(new URL("./controls/http.ts", import.meta.url)),
  ws: fileURLToPath(new URL("./controls/ws.ts", import.meta.url)),
} as const;

/**
 * A saturated core that primaries and NATS share with the workers, and perhaps with other programs, may delay heartbeats by seconds. What
 * a mesh does then is not what is measured.
 */
const PATIENT = { MESH_SUSPEND_MS: "20000", MESH_EVICT_MS: "30000" } as const;

export async function startControl(control: keyof typeof CONTROLS, wish: ServerWish = {}): Promise<Server> {
  const child = startPinned({
    core: "server",
    command: process.execPath,
    args: [CONTROLS[control]],
    // The control is never profiled: it is not ours to improve.
    env: nodeOptions({ ...wish, profile: undefined }),
  });
  const { port } = (await firstLine(child, `the ${control} control`)) as { port: number };
  const pids = [child.pid ?? 0];
  return { port, pids, workers: pids, nodes: [], [Symbol.asyncDispose]: () => end(child, "SIGTERM") };
}

/** One worker a node, so that it is known which process a connection reaches. */
export async function startMesh(wish: MeshWish): Promise<Server> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-bench-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rmSync(folder, { recursive: true, force: true }));
  const tcp = wish.link === "tcp";
  const env = { ...nodeOptions(wish), ...PATIENT, ...(tcp ? { MESH_MACHINE: "bench-1" } : {}), ...wish.env };
  const { app = APP, port = 0, quiet = false } = wish;
  const up = startPinned({
    core: quiet ? "any" : "server",
    command: process.execPath,
    args: [CLI, "up", app, "--json", ...words({ nodes: tcp ? 1 : wish.nodes, workers: 1, port, "admin-port": 0 })],
    env: { ...env, NATS_URL: undefined, REDIS_URL: undefined },
    cwd: folder,
  });
  undo.defer(() => end(up, "SIGINT"));
  const report = (await firstLine(up, "mesh up", { quiet })) as { mesh: string; nats: string; nodes: NodeInfo[] };
  const nodes = [...report.nodes];
  if (tcp && wish.nodes === 2) {
    const second = startPinned({
      core: "server",
      command: process.execPath,
      args: [CLI, "node", app, "--json"],
      env: {
        ...env,
        NATS_URL: report.nats,
        MESH_NAME: report.mesh,
        MESH_NODE: "n2",
        MESH_WORKERS: "1",
        MESH_MACHINE: "bench-2",
        MESH_BIND: "127.0.0.1",
        MESH_HOST: "127.0.0.1",
        MESH_PORT: "0",
        MESH_ADMIN_PORT: "0",
      },
      cwd: folder,
    });
    undo.defer(() => end(second, "SIGINT"));
    nodes.push((await firstLine(second, "the second node")) as NodeInfo);
  }
  const workers = nodes.flatMap((node) => node.workers.map(({ pid }) => pid));
  const kept = undo.move();
  return {
    port: Number(new URL(nodes[0]?.gateway ?? "").port),
    pids: [...nodes.map(({ pid }) => pid), ...workers],
    workers,
    nodes: nodes.map(({ id }) => id),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function nodeOptions(wish: ServerWish): { NODE_OPTIONS?: string } {
  const options = [
    process.env["NODE_OPTIONS"] ?? "",
    wish.exposeGc === true ? "--expose-gc" : "",
    wish.profile === undefined ? "" : `--cpu-prof --cpu-prof-dir=${wish.profile.folder}`,
  ].filter((option) => option !== "");
  return options.length === 0 ? {} : { NODE_OPTIONS: options.join(" ") };
}

function words(options: Readonly<Record<string, number>>): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}
