// `mesh dev <app>`: one node with its registry in memory, started again when a file changes that the application imported, and
// nothing else: what it writes beside itself is no change. An application that does not load is reported, and a change of what it
// had imported, or the appearance of what it had looked for, tries again.

import path from "node:path";
import type { ModuleReport, NodeInfo } from "#node";
import { MeshError, messageOf } from "#proto";
import { appPath } from "./app-path.ts";
import { watchForEnding, type Ending } from "./launch/ending.ts";
import { exitText, startNodeProcess, type NodeProcess } from "./launch/node-process.ts";
import { checkPortsFree } from "./launch/plan.ts";
import { print, printJson, say, sayError } from "./terminal.ts";
import { FileWatch } from "./watch-files.ts";

export interface DevOptions {
  readonly port: number;
  readonly adminPort: number;
  readonly workers: number;
  /** Files that start it again, too: what it reads and does not import. */
  readonly watch?: readonly string[];
  readonly json?: true;
}

/** Its id. */
const NODE = "dev";
/** A node in development holds little; a developer waits for it. */
const STOP_MS = 3_000;

/** Resolves with the exit code when it was told to end. Throws `bad_config` for ports that no change of a file would mend. */
export async function runDevCommand(
  app: string,
  options: DevOptions,
  ending: Ending = watchForEnding(),
): Promise<number> {
  const file = appPath(app);
  if (options.port !== 0 && options.port === options.adminPort) {
    throw new MeshError("bad_config", `--port and --admin-port are both ${options.port}: move one of them`);
  }
  await checkPortsFree([{ id: NODE, port: options.port, adminPort: options.adminPort }], 0);
  const always = [file, ...(options.watch ?? []).map((one) => path.resolve(one))];
  let onChange = (_files: readonly string[]): void => {};
  const watch = new FileWatch(
    (files) => onChange(files),
    (folder, error) => say(`changes in ${folder} are not seen: ${messageOf(error)}`),
  );
  for (const one of always) watch.add(one);
  try {
    for (;;) {
      // Listens before the start: a change while the node starts must not be missed. What was imported last time still counts
      // until it is known what is imported this time.
      const changed = new Promise<readonly string[]>((resolve) => (onChange = resolve));
      const stopped = new AbortController();
      const imports = new Imports(watch, always);
      const node = startNodeProcess({
        id: NODE,
        app: file,
        env: environment(options),
        args: ["--in-memory", "--tell-modules"],
        onModules: (report) => imports.take(report),
        onLine: say,
      });
      const told = tell(node, options, imports, stopped.signal);
      await Promise.race([changed, ending.asked]);
      stopped.abort();
      await stop(node, ending.insisted);
      await told;
      if (ending.isAsked()) return 0;
      say(`${changeText(await changed)} changed: starting again`);
    }
  } finally {
    watch.close();
  }
}

/** What one life of the node has imported. */
class Imports {
  readonly #watch: FileWatch;
  readonly #files: Set<string>;
  readonly #missing = new Set<string>();

  constructor(watch: FileWatch, always: readonly string[]) {
    this.#watch = watch;
    this.#files = new Set(always);
  }

  take({ files, missing, atMs }: ModuleReport): void {
    for (const file of files) {
      this.#files.add(file);
      this.#watch.add(file, atMs);
    }
    for (const file of missing) this.#missing.add(file);
  }

  /** All is loaded: what an earlier life imported is nobody's any more. */
  loaded(): void {
    this.#watch.keep(this.#files);
  }

  /** Whatever was looked for in vain may have been the reason. */
  failed(): void {
    for (const file of this.#missing) this.#watch.add(file);
  }
}

/** What a developer wants to know of one life of the node. Once `stopped`, its end is no news. */
async function tell(node: NodeProcess, options: DevOptions, imports: Imports, stopped: AbortSignal): Promise<void> {
  try {
    const info = await node.ready;
    imports.loaded();
    if (options.json === true) printJson(info);
    else printWelcome(info);
  } catch (error) {
    imports.failed();
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
    MESH_NODE: NODE,
    MESH_WORKERS: String(options.workers),
    MESH_CLIENT_ERRORS: env.MESH_CLIENT_ERRORS ?? "detailed",
    MESH_BIND: "127.0.0.1",
    MESH_HOST: "127.0.0.1",
    MESH_PORT: String(options.port),
    MESH_ADMIN_BIND: "127.0.0.1",
    MESH_ADMIN_PORT: String(options.adminPort),
  };
}

function changeText(files: readonly string[]): string {
  const [first = ""] = files;
  const name = path.relative(process.cwd(), first);
  const more = files.length === 1 ? "" : ` and ${files.length - 1} more`;
  return `${name.startsWith("..") ? first : name}${more}`;
}

function printWelcome(info: NodeInfo): void {
  print(`${info.gateway}/sessions/<kind>/<name>   admin ${info.admin}   restarts on change, Ctrl-C ends`);
}
