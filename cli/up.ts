// `mesh up <app>`: a whole mesh on this machine. NATS first, then every node as a process group of its own; the launcher itself does
// no mesh work. However it ends, nothing of what it started is left: nodes see the end of their IPC channel, the keeper of
// NATS sees the end of its pipe.

import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { NodeInfo } from "#node";
import { MeshError } from "#proto";
import { appPath } from "./app-path.ts";
import { runDevCommand } from "./dev.ts";
import { findInfra, type Infra } from "./infra/find.ts";
import { withoutPassword } from "./infra/from-url.ts";
import { natsNeed, redisNeed, type InfraNeed } from "./infra/need.ts";
import { watchForEnding, type Ending } from "./launch/ending.ts";
import { Fleet } from "./launch/fleet.ts";
import { NodeOutput } from "./launch/node-output.ts";
import { checkPortsFree, planNodes, type NodePlan } from "./launch/plan.ts";
import { boldOnStdout, print, printJson, say, sayError } from "./terminal.ts";
import { renderTable } from "./table.ts";
import { removeUpFile, writeUpFile } from "./up-file.ts";

export interface UpOptions {
  readonly mesh: string;
  readonly nodes: number;
  readonly workers: number;
  readonly port: number;
  readonly adminPort: number;
  readonly natsPort: number;
  /** Folder in which NATS keeps its data across runs. */
  readonly store?: string;
  /** Start Redis too, unless REDIS_URL names one. */
  readonly redis?: true;
  /** Without NATS run `mesh dev` instead of failing. */
  readonly orDev?: true;
  readonly quiet?: true;
  readonly json?: true;
}

/** The ready mesh, as `--json` prints it in one line. */
interface UpReport {
  readonly mesh: string;
  readonly nats: string;
  readonly redis?: string;
  readonly nodes: readonly NodeInfo[];
}

/** Resolves with the exit code once everything that was started has ended. */
export async function runUpCommand(app: string, options: UpOptions): Promise<number> {
  const file = appPath(app);
  const plans = planNodes(options.nodes, options.port, options.adminPort);
  await checkPortsFree(plans);
  const ending = watchForEnding();
  const launch = new Launch(file, options, plans, ending);
  try {
    const started = launch.start();
    const end = await Promise.race([started, ending.asked.then(() => "asked" as const)]);
    if (end === "asked") return 0;
    if (end === "no registry") {
      return await runDevCommand(
        app,
        { port: options.port, adminPort: options.adminPort, workers: 1, ...json(options) },
        ending,
      );
    }
    await Promise.race([launch.allGone, ending.asked]);
    if (ending.isAsked()) return 0;
    sayError("every node has died");
    return 1;
  } catch (error) {
    // An end that was asked for during the start makes the start fail: that is no failure.
    if (ending.isAsked()) return 0;
    launch.explain(error);
    return 1;
  } finally {
    await launch.stop();
  }
}

class Launch {
  readonly #app: string;
  readonly #options: UpOptions;
  readonly #plans: readonly NodePlan[];
  readonly #ending: Ending;
  readonly #output: NodeOutput;
  readonly #infra: Infra[] = [];
  /** For the links. A worker that was killed leaves its socket behind; here it goes with the mesh. */
  readonly #socketDir = mkdtempSync(path.join(os.tmpdir(), "mesh-up-"));
  #fleet: Fleet | undefined;

  constructor(app: string, options: UpOptions, plans: readonly NodePlan[], ending: Ending) {
    this.#app = app;
    this.#options = options;
    this.#plans = plans;
    this.#ending = ending;
    this.#output = new NodeOutput(options.quiet === true);
  }

  async start(): Promise<"ready" | "no registry"> {
    const options = this.#options;
    const nats = await this.#find(natsNeed, options.natsPort, options.store).catch((error: unknown) => {
      // Whoever names a NATS wants that one.
      if (options.orDev !== true || namesNats()) throw error;
      say(`${MeshError.from(error).message}\nrunning \`mesh dev\` instead: one node, and its registry in memory`);
      return undefined;
    });
    if (nats === undefined) return "no registry";
    const wantsRedis = options.redis === true || (process.env["REDIS_URL"] ?? "") !== "";
    const redis = wantsRedis ? await this.#find(redisNeed, 0, undefined) : undefined;
    if (this.#ending.isAsked()) return "ready";
    this.#fleet = new Fleet(
      this.#plans.map((plan) => ({
        id: plan.id,
        app: this.#app,
        env: { ...process.env, ...this.#environment(plan), NATS_URL: nats.url, ...(redis && { REDIS_URL: redis.url }) },
        onLine: (line) => this.#output.take(plan.id, line),
      })),
    );
    const nodes = await this.#fleet.ready();
    if (this.#ending.isAsked()) return "ready";
    writeUpFile(process.cwd(), { pid: process.pid, mesh: options.mesh, nats: nats.url });
    const report: UpReport = { mesh: options.mesh, nats: nats.url, ...(redis && { redis: redis.url }), nodes };
    if (options.json === true) printJson(report);
    else printWelcome(report);
    this.#output.release();
    return "ready";
  }

  get allGone(): Promise<void> {
    return this.#fleet?.allGone ?? Promise.resolve();
  }

  /** Why the start failed, once, with the output of a node that could not say it itself. */
  explain(thrown: unknown): void {
    const error = MeshError.from(thrown);
    if (error.node === undefined) return sayError(error.message);
    if (error.code === "internal") this.#output.explain(error.node);
    sayError(`node ${error.node} could not start: ${error.message}`);
  }

  /**
   * Nodes first, then NATS, so that they can leave in order. A NATS whose start is still under way is not waited for: its keeper ends
   * it when this process exits.
   */
  async stop(): Promise<void> {
    removeUpFile(process.cwd(), process.pid);
    await this.#fleet?.stop(this.#ending.insisted);
    rmSync(this.#socketDir, { recursive: true, force: true });
    await Promise.all(this.#infra.map((infra) => infra.stop()));
  }

  async #find(need: InfraNeed, port: number, storeDir: string | undefined): Promise<Infra> {
    const infra = await findInfra(need, { env: process.env, port, storeDir, say });
    this.#infra.push(infra);
    void infra.lost.then((why) => say(`${need.name} died: ${why}. ${need.lossMeans}`));
    return infra;
  }

  #environment(plan: NodePlan): Record<string, string> {
    return {
      MESH_NAME: this.#options.mesh,
      MESH_NODE: plan.id,
      MESH_WORKERS: String(this.#options.workers),
      MESH_BIND: "127.0.0.1",
      MESH_HOST: "127.0.0.1",
      MESH_PORT: String(plan.port),
      MESH_SOCKET_DIR: this.#socketDir,
      MESH_ADMIN_BIND: "127.0.0.1",
      MESH_ADMIN_PORT: String(plan.adminPort),
      // A NATS of our own in a fresh folder cannot have forgotten a mesh.
      ...(!namesNats() && this.#options.store === undefined && { MESH_FOUNDING: "now" }),
    };
  }
}

function namesNats(): boolean {
  return (process.env["NATS_URL"] ?? "") !== "";
}

function printWelcome(report: UpReport): void {
  const [first] = report.nodes;
  if (first === undefined) return;
  const other = report.nodes[1] ?? first;
  const workers = report.nodes.reduce((sum, node) => sum + node.workers.length, 0);
  print(
    `mesh "${report.mesh}" is up: ${report.nodes.length} nodes, ${workers} workers, NATS at ${withoutPassword(report.nats)}\n`,
  );
  print(
    renderTable(
      [
        { title: "NODE" },
        { title: "GATEWAY" },
        { title: "ADMIN" },
        { title: "PID", align: "right" },
        { title: "WORKERS" },
      ],
      report.nodes.map((node) => [
        node.id,
        node.gateway,
        node.admin,
        node.pid,
        node.workers.map(({ pid }) => pid).join(" "),
      ]),
      boldOnStdout,
    ),
  );
  const hints = [
    [`curl ${first.gateway}/sessions/counter/alice`, "a session, created by its first request"],
    [`curl ${other.gateway}/sessions/counter/alice`, "the same session through another node"],
    [`${meshCommand()} session list`, "every live session of the mesh"],
    [`kill -9 ${first.pid}`, `ends ${first.id} and its sessions, no others`],
  ] as const;
  const width = Math.max(...hints.map(([command]) => command.length));
  print(
    `\nTry\n${hints.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`).join("\n")}\nCtrl-C ends everything.\n`,
  );
}

/** `mesh` as it can be typed here: in a checkout of the package itself it is not on PATH. */
function meshCommand(): string {
  return process.env["npm_package_name"] === "sessionmesh" ? "npm run -s mesh --" : "mesh";
}

function json(options: UpOptions): { json?: true } {
  return options.json === true ? { json: true } : {};
}
