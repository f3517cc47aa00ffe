// One node in a place of the test's network: `mesh node` in a process group of its own, told apart from a node on another machine by nothing
// that it can see. Ends when the test ends, as its IPC channel tells it.

import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import type { NodeInfo } from "#node";
import { parseJson, list, integer, record } from "#proto";
import { errorOfFailure, readNodeMessage } from "../../cli/launch/message.ts";
import type { Place } from "./network/port.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
const MESH = path.join(ROOT, "cli", "mesh.ts");
const APP = path.join(ROOT, "test", "cluster", "app.ts");
/** Forks its workers, loads the application in each, joins: seconds on a busy machine. */
const READY_MS = 60_000;
/** The same in every life of the node, and not the usual ones, which this machine may have in use. */
const GATEWAY_PORT = 28_080;
const ADMIN_PORT = 29_080;
const STATUS_MS = 5_000;
/** The last lines of a node's output are what explains a failure. */
const LINES_MAX = 200;

export interface NodeWish {
  readonly mesh: string;
  readonly natsUrls: string;
  readonly natsReplicas: number;
  readonly workers: number;
  readonly drainMs: number;
  readonly socketDir: string;
  readonly extraEnv: Readonly<Record<string, string>>;
  /** Where its output goes, unless to `lines`. */
  readonly logFile?: string;
  /** Default: a minute. */
  readonly readyMs?: number;
}

export interface WorkerNow {
  readonly index: number;
  readonly pid: number;
}

export interface PlacedNode extends NodeInfo {
  readonly place: Place;
  readonly exited: Promise<void>;
  readonly lines: readonly string[];
  /** To the primary, or to its workers as well. Nothing happens when they are gone. */
  signal(signal: NodeJS.Signals, whom: "primary" | "group"): void;
  /** The worker processes that it has now. Rejects when it does not say. */
  workersNow(): Promise<WorkerNow[]>;
}

export async function startPlacedNode(id: string, place: Place, wish: NodeWish): Promise<PlacedNode> {
  const [command, ...args] = [...place.under, process.execPath, MESH, "node", APP];
  const output = wish.logFile === undefined ? "pipe" : openSync(wish.logFile, "a");
  const child = spawn(command, args, {
    env: {
      ...process.env,
      NATS_URL: wish.natsUrls,
      MESH_NATS_REPLICAS: String(wish.natsReplicas),
      MESH_NAME: wish.mesh,
      MESH_NODE: id,
      // Places are machines: what they say to each other has to pass through the network.
      MESH_MACHINE: place.name,
      MESH_BIND: place.address,
      MESH_HOST: place.address,
      MESH_PORT: String(GATEWAY_PORT),
      MESH_ADMIN_BIND: place.address,
      MESH_ADMIN_PORT: String(ADMIN_PORT),
      MESH_WORKERS: String(wish.workers),
      MESH_DRAIN_MS: String(wish.drainMs),
      MESH_SOCKET_DIR: wish.socketDir,
      ...wish.extraEnv,
    },
    stdio: ["ignore", output, output, "ipc"],
    detached: true,
  });
  if (typeof output === "number") closeSync(output);
  const pid = child.pid ?? 0;
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      lines.push(
        ...chunk
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => `${id} ${line}`),
      );
      lines.splice(0, Math.max(0, lines.length - LINES_MAX));
    });
  }
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const info = await new Promise<NodeInfo>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error([`${id} was not ready in time`, ...lines].join("\n"))),
      wish.readyMs ?? READY_MS,
    );
    child.on("message", (value) => {
      const message = readNodeMessage(value);
      if (message.type === "slow" || message.type === "modules") return;
      clearTimeout(timer);
      if (message.type === "ready") resolve(message.info);
      else reject(errorOfFailure(message.error, id));
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error([`${id} ended before it was ready`, ...lines].join("\n"))));
  }).catch((error: unknown) => {
    signalGroup(pid, "SIGKILL");
    throw error;
  });
  return {
    ...info,
    place,
    exited,
    lines,
    signal(signal, whom) {
      if (whom === "group") signalGroup(pid, signal);
      else child.kill(signal);
    },
    async workersNow() {
      const answer = await fetch(`${info.admin}/_mesh/status`, { signal: AbortSignal.timeout(STATUS_MS) });
      const status = parseJson(new Uint8Array(await answer.arrayBuffer()), "status");
      return list(status["workers"], "workers").map((entry) => {
        const worker = record(entry, "worker");
        return { index: integer(worker["index"], "index"), pid: integer(worker["pid"], "pid") };
      });
    },
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(-pid, signal);
  } catch {
    // ESRCH: the group is empty.
  }
}
