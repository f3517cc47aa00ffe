// What a worker does with its watchdog: tries it before any session starts, writes each kill to the log, and gives the worker up when
// there were too many.

import type { SessionHostControl } from "../session/host.ts";
import type { NodeConfig } from "../config.ts";
import type { Log } from "../log.ts";
import { Taint } from "../watchdog/taint.ts";
import { tryWatchdog } from "../watchdog/trial.ts";
import { Watchdog, type Kill } from "../watchdog/watchdog.ts";

export interface WorkerGuardOptions {
  readonly config: NodeConfig;
  readonly host: SessionHostControl;
  readonly log: Log;
  /** A session loads code, and its worker says nothing else meanwhile. */
  readonly onLoading: () => void;
  /** Once: this worker has ended too many sessions by force. */
  readonly onTainted: () => void;
}

export class WorkerGuard {
  readonly #options: WorkerGuardOptions;
  readonly #taint = new Taint();
  #watchdog: Watchdog | undefined;
  #tainted = false;

  constructor(options: WorkerGuardOptions) {
    this.#options = options;
  }

  /** True: sessions that hog this worker are ended alone. False: the log says why not, and they cost the worker. */
  async start(): Promise<boolean> {
    const { config, host, log, onLoading } = this.#options;
    const problem = await this.#try({
      turnBudgetMs: config.turnBudgetMs,
      importBudgetMs: config.importBudgetMs,
      turnHeapMiB: config.turnHeapMb,
      log,
      kill: (key, error) => host.kill(key, error),
      onLoading,
      onKilled: (kill) => this.#killed(kill),
    });
    if (problem === undefined) return true;
    await this.close();
    log.error("a session that hogs this worker cannot be ended alone; it will cost the worker", { problem });
    return false;
  }

  async close(): Promise<void> {
    const watchdog = this.#watchdog;
    this.#watchdog = undefined;
    await watchdog?.close();
  }

  /** The process ends at once, with or without `close`. */
  letGo(): void {
    this.#watchdog?.letGo();
  }

  async #try(options: Parameters<typeof Watchdog.start>[0]): Promise<string | undefined> {
    try {
      this.#watchdog = await Watchdog.start(options);
      return await tryWatchdog(this.#watchdog, options.log);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #killed({ session, reason, durationMs, stack }: Kill): void {
    const { log, onTainted } = this.#options;
    log.error("session killed", { session, reason, durationMs, stack });
    if (!this.#taint.killed(performance.now()) || this.#tainted) return;
    this.#tainted = true;
    log.warn("this worker had to end too many sessions by force; it takes no new ones and will be replaced");
    onTainted();
  }
}
