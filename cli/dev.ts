// `mesh dev <app>`: one node with its registry in memory, started again on every change in the application's folder. An
// application that does not load is reported, and the next change tries again.

import path from "node:path";
import type { NodeInfo } from "#node";
import { MeshError } from "#proto";
import { appPath } from "./app-path.ts";
import { watchForEnding, type Ending } from "./launch/ending.ts";
import { exitText, startNodeProcess, type NodeProcess } from "./launch/node-process.ts";
import { print, printJson, say, sayError } from "./terminal.ts";
import { watchFolder } from "./watch-folder.ts";

export interface DevOptions {
  readonly port: number;
  readonly adminPort: number;
  readonly workers: number;
  readonly json?: true;
}

/** A node in development holds little; a developer waits for it. */
const STOP_MS = 3_000;

/** Resolves with the exit code when it was told to end. */
export async function runDevCommand(
  app: string,
  options: DevOptions,
  ending: Ending = watchForEnding(),
): Promise<number> {
  const file = appPath(app);
  let onChange = (_file: string): void => {};
  const unwatch = watchFolder(path.dirname(file), (changed) => onChange(changed));
  try {
    for (;;) {
      // Listens before the start: a change while the node starts must not be missed.
      const changed = new Promise<string>((resolve) => (onChange = resolve));
      const stopped = new AbortController();
      const node = startNodeProcess({
        id: "dev",
        app: file,
        env: environment(options),
        args: ["--in-memory"],
        onLine: say,
      });
      const told = tell(node, options, stopped.signal);
      await Promise.race([changed, ending.asked]);
      stopped.abort();
      await stop(node, ending.insisted);
      await told;
      if (ending.isAsked()) return 0;
      say(`${await changed} changed: starting again`);
    }
  } finally {
    unwatch();
  }
}

/** What a developer wants to know of one life of the node. Once `stopped`, its end is no news. */
async function tell(node: NodeProcess, options: DevOptions, stopped: AbortSignal): Promise<void> {
  try {
    const info = await node.ready;
    if (options.json === true) printJson(info);
    else printWelcome(info);
  } catch (error) {
    if (!stopped.aborted) sayError(`${MeshError.from(error).message}\nwaiting for a change`);
    return;
  }
  const exit = await node.exited;
  if (!stopped.aborted) sayError(`the node died (${exitText(exit)}); waiting for a change`);
}

async function stop(node: NodeProcess, insisted: Promise<void>): Promise<void> {
  node.signal("SIGINT");
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_MS)));
  await Promise.race([node.exited, stuck, insisted]);
  clearTimeout(timer);
  node.killGroup();
  await node.exited;
}

function environment(options: DevOptions): Record<string, string | undefined> {
  const { NATS_URL: _natsUrl, ...env } = process.env;
  return {
    ...env,
    MESH_NODE: "dev",
    MESH_WORKERS: String(options.workers),
    MESH_BIND: "127.0.0.1",
    MESH_HOST: "127.0.0.1",
    MESH_PORT: String(options.port),
    MESH_ADMIN_BIND: "127.0.0.1",
    MESH_ADMIN_PORT: String(options.adminPort),
  };
}

function printWelcome(info: NodeInfo): void {
  print(`${info.gateway}/sessions/<kind>/<name>   admin ${info.admin}   restarts on change, Ctrl-C ends`);
}
