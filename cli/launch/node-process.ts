// One node as a child: `mesh node <app>` in a process group of its own, with an IPC channel that tells us when it is ready and
// tells it when we are gone. Its workers belong to the same group, so the group is what must be empty at the end.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ModuleReport, NodeInfo } from "#node";
import { MeshError, messageOf } from "#proto";
import { LAUNCHED_ENV } from "../unknown-variables.ts";
import { eachLine } from "./lines.ts";
import { errorOfFailure, readNodeMessage } from "./message.ts";

export interface NodeExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface NodeProcess {
  readonly id: string;
  readonly pid: number;
  /** Rejects with the node's own error when it cannot start. */
  readonly ready: Promise<NodeInfo>;
  /** Of the node's primary. Its workers end by themselves, a moment later. */
  readonly exited: Promise<NodeExit>;
  /** To the primary alone, as an operator or a container engine does. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** SIGKILL to the primary and every worker. Nothing happens when they are gone. */
  readonly killGroup: () => void;
}

export interface NodeOrder {
  readonly id: string;
  readonly app: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Arguments of `mesh node` after the application. */
  readonly args?: readonly string[];
  /** The application takes long to load, and what is known of why. */
  readonly onSlow?: (why: string) => void;
  /** What the application imports; only with `--tell-modules`. */
  readonly onModules?: (report: ModuleReport) => void;
  /** Each line of the node's output. */
  readonly onLine: (line: string) => void;
}

/** What the node grants it when nothing is set. To ask the node's own code would cost the launcher all of it: 30 MB. */
const LOAD_MS = 60_000;
/** Beyond what the application may take to load, which the node sees to itself: it forks its workers and joins. */
const READY_GRACE_MS = 60_000;

const MESH = fileURLToPath(new URL("../mesh.ts", import.meta.url));

export function startNodeProcess(order: NodeOrder): NodeProcess {
  const child = spawn(process.execPath, [...flags(), MESH, "node", order.app, ...(order.args ?? [])], {
    env: { ...order.env, [LAUNCHED_ENV]: "1" },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    detached: true,
  });
  const { pid } = child;
  if (child.stdout !== null) eachLine(child.stdout, order.onLine);
  if (child.stderr !== null) eachLine(child.stderr, order.onLine);

  const exited = new Promise<NodeExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: 1, signal: null }));
  });
  let deadline: NodeJS.Timeout | undefined;
  const ready = new Promise<NodeInfo>((resolve, reject) => {
    const fail = (why: string): void => reject(new MeshError("internal", why, { node: order.id }));
    child.on("message", (value) => {
      try {
        const message = readNodeMessage(value);
        if (message.type === "ready") resolve(message.info);
        else if (message.type === "slow") order.onSlow?.(message.why);
        else if (message.type === "modules") order.onModules?.(message.report);
        else reject(errorOfFailure(message.error, order.id));
      } catch (error) {
        fail(`its report cannot be read: ${messageOf(error)}`);
      }
    });
    void exited.then((exit) => fail(`it ended with ${exitText(exit)} before it was ready`));
    const readyMs = loadMs(order) + READY_GRACE_MS;
    deadline = setTimeout(() => fail(`it was not ready within ${readyMs / 1000} s`), readyMs);
  }).finally(() => clearTimeout(deadline));
  // The caller reads `ready` when its turn comes; until then a rejection is not unhandled.
  ready.catch(() => {});

  return {
    id: order.id,
    pid: pid ?? 0,
    ready,
    exited,
    signal: (signal) => void child.kill(signal),
    killGroup: () => killGroup(pid),
  };
}

/** One that is no number is refused by the node. */
function loadMs({ env }: NodeOrder): number {
  return Number(env["MESH_START_LIMIT_MS"] ?? LOAD_MS) || 0;
}

/** Ours, such as --import. An inspector has one port. */
function flags(): string[] {
  return process.execArgv.filter((flag) => !flag.startsWith("--inspect"));
}

export function exitText(exit: NodeExit): string {
  return exit.signal ?? `code ${exit.code}`;
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: the group is empty.
  }
}
