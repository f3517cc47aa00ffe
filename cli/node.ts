// `mesh node <app>`: one node, configured by the environment. What a container runs, and what `mesh up` and `mesh dev` start as
// children: with an IPC channel it reports when it is ready and stops when the other end is gone.

import path from "node:path";
import { configFromEnv, createLog, runNode, type Log, type NodeInfo, type RunningNode } from "#node";
import { MeshError } from "#proto";
import { appPath } from "./app-path.ts";
import { onSignal } from "./launch/ending.ts";
import type { NodeMessage } from "./launch/message.ts";
import { printJson, sayError } from "./terminal.ts";

export interface NodeOptions {
  /** Keep the registry in this process: a mesh of one node, for `mesh dev`. */
  readonly inMemory?: true;
  /** Tell the launcher what the application imports. */
  readonly tellModules?: true;
  /** Print the node's addresses as JSON once it is ready. */
  readonly json?: true;
}

/** Exit code of a process that a signal ended, as shells count: 128 + the signal's number. */
const INTERRUPTED = 130;

/** Resolves with the exit code. Throws `bad_config` when the environment is not enough. */
export async function runNodeCommand(app: string, options: NodeOptions): Promise<number> {
  try {
    const config = configFromEnv(process.env, path.resolve(app));
    if (config.registry.kind === "memory" && options.inMemory === undefined) {
      throw new MeshError(
        "bad_config",
        "NATS_URL is not set: name the NATS servers of the mesh, for example NATS_URL=nats://127.0.0.1:4222. " +
          "`mesh up` starts a whole mesh with NATS on this machine, `mesh dev` one node without NATS",
      );
    }
    appPath(app);
    const log = createLog(config.log, { node: config.node });
    const node = runNode(config, {
      log,
      onReady: (info) => {
        if (options.json !== undefined) printJson(info);
        void tellLauncher({ type: "ready", info: plain(info) });
      },
      onSlow: (why) => void tellLauncher({ type: "slow", why }),
      ...(options.tellModules && { onModules: (report) => void tellLauncher({ type: "modules", report }) }),
    });
    obeySignals(node, log);
    return await node.ended;
  } catch (thrown) {
    const error = MeshError.from(thrown);
    const told = await tellLauncher({ type: "failed", error: { code: error.code, message: error.message } });
    // The launcher prints it, once for all nodes.
    if (!told) sayError(error.message);
    return 1;
  }
}

function obeySignals(node: RunningNode, log: Log): void {
  let asked = false;
  const stop = (how: "drain" | "now", why: string): void => {
    if (asked) {
      log.warn("told to stop again: ending at once");
      process.exit(INTERRUPTED);
    }
    asked = true;
    log.info(how === "drain" ? "draining" : "stopping", { why });
    node.stop(how);
  };
  onSignal("SIGTERM", () => stop("drain", "SIGTERM"));
  const launched = process.connected;
  // A launcher sends it whatever ends the node: a signal of its own, a file that changed.
  onSignal("SIGINT", () => stop("now", launched ? "SIGINT, as its launcher sends it" : "SIGINT"));
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      // A launcher that is gone takes the reader of our output with it. A disk that is full, say, costs the log and nothing else.
      if (launched && error.code === "EPIPE") node.stop("now");
    });
  }
  if (!launched) return;
  process.once("disconnect", () => {
    log.info("stopping", { why: "the launcher is gone" });
    node.stop("now");
  });
}

/** False when nobody listens. */
function tellLauncher(message: NodeMessage): Promise<boolean> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve(false);
    process.send(message, undefined, undefined, (error: Error | null) => resolve(error === null));
  });
}

/** What crosses the channel is exactly what its reader expects. */
function plain(info: NodeInfo): NodeInfo {
  return { ...info, workers: info.workers.map(({ index, pid }) => ({ index, pid })) };
}
