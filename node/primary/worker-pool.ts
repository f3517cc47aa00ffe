// The worker processes of one node: forks them, passes messages, and replaces one that died, with growing pauses when it keeps
// dying. Knows nothing of views or sessions; the node decides what an exit means.

import cluster, { type Worker } from "node:cluster";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { WorkerAddress } from "#proto";
import type { NodeConfig } from "../config.ts";
import { WORKER_BOOT_ENV, type FromWorker, type ToWorker, type WorkerBoot } from "../ipc.ts";
import type { Log } from "../log.ts";
import { closeStrandedConnection } from "./stranded-connection.ts";

/** A worker that lived so long is healthy: its death starts the pauses anew. */
const HEALTHY_MS = 10_000;
/**
 * Before a replacement is forked, while other workers of the node go on. Forking holds the primary for some 20 ms and a start takes a second
 * of a core: both would be missing to those who take over the names of the dead one, and who do not wait for the replacement.
 */
const TAKEOVER_MS = 300;
/** Pause after the second quick death; doubles up to the maximum. */
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 10_000;

/**
 * What a worker's watchdog needs of Node: without the first, a turn that was torn off inside a timer aborts the process; without the
 * second, some optimised loops never look whether they are to stop.
 */
const WATCHDOG_FLAGS = ["--no-force-async-hooks-checks", "--no-use-osr"];

/** An application in a folder without a package.json is fine, and every worker would say that it looked twice to see its kind. */
const QUIET_FLAGS = ["--disable-warning=MODULE_TYPELESS_PACKAGE_JSON"];

/** One life of one worker process. */
export interface WorkerProcess {
  readonly index: number;
  readonly incarnation: string;
  readonly pid: number;
  /** Set once it listens. */
  address: WorkerAddress | undefined;
  settled: boolean;
  /** It takes no new session and has none. */
  drained: boolean;
  /** It has no session and no client any more, and waits for `exit`. */
  stopped: boolean;
}

export interface WorkerPoolEvents {
  /** Whether workers tell what the application imports. */
  readonly tellModules: boolean;
  onMessage(worker: WorkerProcess, message: FromWorker): void;
  /** After this the pool replaces the worker, unless it is closing. */
  onExit(worker: WorkerProcess, how: string): void;
}

export class WorkerPool {
  readonly #config: NodeConfig;
  readonly #log: Log;
  readonly #events: WorkerPoolEvents;
  readonly #lives = new Map<number, { readonly process: WorkerProcess; readonly worker: Worker }>();
  readonly #backoffs = new Map<number, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #closing = false;

  constructor(config: NodeConfig, log: Log, events: WorkerPoolEvents) {
    this.#config = config;
    this.#log = log;
    this.#events = events;
    // One connection at a time to the next worker, so that none gets all of a crowd and one that hangs gets one. That costs two messages between
    // processes for each, three times what a handshake costs the worker itself: a worker without others takes its connections from the kernel.
    cluster.schedulingPolicy = config.workers === 1 ? cluster.SCHED_NONE : cluster.SCHED_RR;
    cluster.setupPrimary({
      exec: fileURLToPath(new URL("../worker/main.ts", import.meta.url)),
      args: [],
      execArgv: [
        ...process.execArgv,
        ...WATCHDOG_FLAGS,
        ...QUIET_FLAGS,
        ...(config.workerMemoryMb === 0 ? [] : [`--max-old-space-size=${config.workerMemoryMb}`]),
      ],
      serialization: "advanced",
    });
  }

  start(): void {
    for (let index = 0; index < this.#config.workers; index++) this.#fork(index);
  }

  get processes(): WorkerProcess[] {
    return [...this.#lives.values()].map((life) => life.process).sort((a, b) => a.index - b.index);
  }

  send(index: number, message: ToWorker): boolean {
    const worker = this.#lives.get(index)?.worker;
    if (worker === undefined || !worker.isConnected()) return false;
    // A worker that dies now is reported by its exit; the message has nobody to miss it.
    worker.send(message, () => {});
    return true;
  }

  broadcast(message: ToWorker): void {
    for (const index of this.#lives.keys()) this.send(index, message);
  }

  /** From now on a worker that dies is not replaced. */
  retire(): void {
    this.#closing = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Sends `message` to all, waits for their exits and kills who is still there after `limitMs`. No replacements any more. */
  async end(message: ToWorker, limitMs: number): Promise<void> {
    this.retire();
    const exits = [...this.#lives.values()].map(({ worker }) => once(worker, "exit"));
    this.broadcast(message);
    const kill = setTimeout(() => this.kill(), limitMs);
    await Promise.all(exits);
    clearTimeout(kill);
  }

  /** Ends one process that does not answer; it is replaced as one that died. */
  killOne(index: number): void {
    this.#lives.get(index)?.worker.process.kill("SIGKILL");
  }

  kill(): void {
    this.#closing = true;
    for (const { worker } of this.#lives.values()) worker.process.kill("SIGKILL");
  }

  #fork(index: number): void {
    const incarnation = randomBytes(6).toString("base64url");
    const boot: WorkerBoot = {
      config: this.#config,
      index,
      incarnation,
      tellModules: this.#events.tellModules,
    };
    const worker = cluster.fork({ [WORKER_BOOT_ENV]: JSON.stringify(boot) });
    const life: WorkerProcess = {
      index,
      incarnation,
      pid: worker.process.pid ?? 0,
      address: undefined,
      settled: false,
      drained: false,
      stopped: false,
    };
    const bornAt = performance.now();
    this.#lives.set(index, { process: life, worker });
    closeStrandedConnection(worker);
    worker.on("message", (message: FromWorker) => this.#events.onMessage(life, message));
    worker.on("error", (error) =>
      this.#log.error("a worker's channel failed", { worker: index, error: error.message }),
    );
    worker.on("exit", (code: number | null, signal: string | null) => {
      this.#lives.delete(index);
      this.#events.onExit(life, signal ?? `exit code ${code}`);
      this.#tidy(life);
      if (!this.#closing) this.#replace(index, performance.now() - bornAt);
    });
  }

  /** A worker that was killed leaves the file of its socket behind. Its name has the incarnation in it, so nobody else uses it. */
  #tidy({ index, address }: WorkerProcess): void {
    if (address === undefined || address.socket === "") return;
    rm(address.socket, { force: true }).catch((error: unknown) =>
      this.#log.debug("the socket of a dead worker stays", { worker: index, error }),
    );
  }

  #replace(index: number, livedMs: number): void {
    const backoffMs = livedMs >= HEALTHY_MS ? 0 : (this.#backoffs.get(index) ?? 0);
    this.#backoffs.set(index, Math.min(Math.max(backoffMs * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS));
    if (backoffMs > 0) {
      this.#log.warn("a worker keeps dying; waiting before the next try", { worker: index, waitMs: backoffMs });
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        this.#fork(index);
      },
      Math.max(backoffMs, this.#lives.size > 0 ? TAKEOVER_MS : 0),
    );
    this.#timers.add(timer);
  }
}
