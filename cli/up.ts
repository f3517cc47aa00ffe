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
import { hintsOf, hintText, meshCommand, type Hint } from "./hints.ts";
import { findInfra, type Infra } from "./infra/find.ts";
import { withoutPassword } from "./infra/from-url.ts";
import { natsNeed, redisNeed, type InfraNeed } from "./infra/need.ts";
import { watchForEnding, type Ending } from "./launch/ending.ts";
import { Fleet } from "./launch/fleet.ts";
import { NodeOutput } from "./launch/node-output.ts";
import { checkPortsFree, planNodes, sharedPort, type NodePlan } from "./launch/plan.ts";
import { boldOnStdout, print, printJson, say, sayError } from "./terminal.ts";
import { renderTable } from "./table.ts";
import { removeUpFile, writeUpFile } from "./up-file.ts";

export interface UpOptions {
  readonly mesh: string;
  readonly nodes: number;
  readonly workers: number;
  /** Of all nodes together; their own follow. */
  readonly port: number;
  readonly adminPort: number;
  readonly natsPort: number;
  /** Folder in which NATS keeps its data across runs. */
  readonly store?: string;
  /** Start Redis too, unless REDIS_URL names one. */
  readonly redis?: true;
  /** Start nodes again that died. */
  readonly restart: boolean;
  /** Without NATS run `mesh dev` instead of failing. */
  readonly orDev?: true;
  readonly quiet?: true;
  readonly json?: true;
}

/** The ready mesh, as `--json` prints it in one line. */
interface UpReport {
  readonly mesh: string;
  /** Base URL of all nodes together; that of the first where the system cannot share a port. */
  readonly gateway: string;
  readonly nats: string;
  readonly redis?: string;
  readonly nodes: readonly NodeInfo[];
}

/** Resolves with the exit code once everything that was started has ended. */
export async function runUpCommand(app: string, options: UpOptions): Promise<number> {
  const file = appPath(app);
  const plans = planNodes(options.nodes, options.port, options.adminPort);
  const shared = await sharedPort(options.port);
  await checkPortsFree(plans, shared);
  const ending = watchForEnding();
  const launch = new Launch(file, options, { plans, shared }, ending);
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

interface MeshPorts {
  readonly plans: readonly NodePlan[];
  /** Of all nodes together, or 0. */
  readonly shared: number;
}

class Launch {
  readonly #app: string;
  readonly #options: UpOptions;
  readonly #ports: MeshPorts;
  readonly #ending: Ending;
  readonly #output: NodeOutput;
  readonly #infra: Infra[] = [];
  /** For the links. A worker that was killed leaves its socket behind; here it goes with the mesh. */
  readonly #socketDir = mkdtempSync(path.join(os.tmpdir(), "mesh-up-"));
  #fleet: Fleet | undefined;
  #saidSlow = false;

  constructor(app: string, options: UpOptions, ports: MeshPorts, ending: Ending) {
    this.#app = app;
    this.#options = options;
    this.#ports = ports;
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
    const infra = { NATS_URL: nats.url, ...(redis && { REDIS_URL: redis.url }) };
    this.#fleet = new Fleet(
      this.#ports.plans.map((plan) => ({
        id: plan.id,
        order: (before) => ({
          id: plan.id,
          app: this.#app,
          env: { ...process.env, ...this.#environment(plan, before), ...infra },
          onSlow: (why) => this.#saySlow(why),
          onLine: (line) => this.#output.take(plan.id, line),
        }),
      })),
      { restart: options.restart },
    );
    const nodes = await this.#fleet.ready();
    if (this.#ending.isAsked()) return "ready";
    writeUpFile(process.cwd(), { pid: process.pid, mesh: options.mesh, nats: nats.url });
    const gateway = this.#ports.shared === 0 ? nodes[0]?.gateway : `http://127.0.0.1:${this.#ports.shared}`;
    const report: UpReport = {
      mesh: options.mesh,
      gateway: gateway ?? "",
      nats: nats.url,
      ...(redis && { redis: redis.url }),
      nodes,
    };
    if (options.json === true) printJson(report);
    else printWelcome(report, options.restart);
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

  /** Once for all nodes: they load the same. What they print is held back until they are ready. */
  #saySlow(why: string): void {
    if (this.#saidSlow) return;
    this.#saidSlow = true;
    say(`${path.relative(process.cwd(), this.#app)} is still loading: ${why}`);
  }

  #environment(plan: NodePlan, before: NodeInfo | undefined): Record<string, string> {
    return {
      MESH_NAME: this.#options.mesh,
      MESH_NODE: plan.id,
      MESH_WORKERS: String(this.#options.workers),
      MESH_BIND: "127.0.0.1",
      MESH_HOST: "127.0.0.1",
      MESH_PORT: before === undefined ? String(plan.port) : new URL(before.gateway).port,
      MESH_SHARED_PORT: String(this.#ports.shared),
      MESH_SOCKET_DIR: this.#socketDir,
      MESH_ADMIN_BIND: "127.0.0.1",
      MESH_ADMIN_PORT: before === undefined ? String(plan.adminPort) : new URL(before.admin).port,
      // A NATS of our own in a fresh folder cannot have forgotten a mesh. Later it might.
      ...(before === undefined && !namesNats() && this.#options.store === undefined && { MESH_FOUNDING: "now" }),
    };
  }
}

function namesNats(): boolean {
  return (process.env["NATS_URL"] ?? "") !== "";
}

function printWelcome({ mesh, gateway, nats, nodes }: UpReport, restart: boolean): void {
  const [first] = nodes;
  if (first === undefined) return;
  const workers = nodes.reduce((sum, node) => sum + node.workers.length, 0);
  print(
    `mesh "${mesh}" is up at ${gateway}\n` +
      `${countText(nodes.length, "node")}, ${countText(workers, "worker")}, NATS at ${withoutPassword(nats)}\n`,
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
      nodes.map((node) => [node.id, node.gateway, node.admin, node.pid, node.workers.map(({ pid }) => pid).join(" ")]),
      boldOnStdout,
    ),
  );
  const command = meshCommand(process.cwd());
  const hints: Hint[] = [
    ...hintsOf(gateway, nodes, command),
    [`${command} session list`, "every live session of the mesh"],
    [`kill -9 ${first.pid}`, `ends ${first.id} and its sessions, no others${restart ? "; it is started again" : ""}`],
  ];
  print(`\nTry\n${hintText(hints)}\nCtrl-C ends everything.\n`);
}

function countText(count: number, what: string): string {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

function json(options: UpOptions): { json?: true } {
  return options.json === true ? { json: true } : {};
}
