// A thread of this worker that holds one session. The worker watches its turns through memory that both share, and can end it in the
// middle of one. Heap is bounded as well as Node can: some floods of memory get past that and cost the worker.

import os from "node:os";
import path from "node:path";
import { getCompileCacheDir } from "node:module";
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import {
  enclosureEnv,
  type Downfall,
  type Enclosure,
  type EnclosureEvents,
  type EnclosureLimits,
} from "./enclosure.ts";
import { newProgressRecord, progressOf, type ProgressRecord } from "./messages.ts";
import { PortStream } from "./port-stream.ts";
import { LOOK_MS, TurnLimit } from "./turn-limit.ts";

/** What a thread is given. */
export interface ThreadStart {
  readonly port: MessagePort;
  readonly progress: ProgressRecord;
}

export function startThread(name: string, limits: EnclosureLimits, events: EnclosureEvents): Enclosure {
  return new Thread(name, limits, events);
}

class Thread implements Enclosure {
  readonly stream: PortStream;
  readonly #thread: Worker;
  readonly #events: EnclosureEvents;
  readonly #watch: NodeJS.Timeout;
  #fallen = false;

  constructor(name: string, { turnBudgetMs, heapMb }: EnclosureLimits, events: EnclosureEvents) {
    this.#events = events;
    const { port1, port2 } = new MessageChannel();
    this.stream = new PortStream(port1, events);
    const start: ThreadStart = { port: port2, progress: newProgressRecord() };
    this.#thread = new Worker(new URL("./inside-thread.ts", import.meta.url), {
      workerData: start,
      transferList: [port2],
      name,
      env: enclosureEnv(getCompileCacheDir() ?? path.join(os.tmpdir(), "node-compile-cache")),
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    const turn = new TurnLimit(turnBudgetMs);
    this.#watch = setInterval(() => {
      // The CPU time of one thread is not to be had while that thread is busy, and its long turns harm nobody: it gets all the patience.
      const durationMs = turn.look({ progress: progressOf(start.progress), nowMs: performance.now(), cpuMs: 0 });
      if (durationMs === undefined) return;
      this.#fell({ how: "killed", reason: "turn budget", durationMs });
      this.kill();
    }, LOOK_MS).unref();
    let downfall: Downfall | undefined;
    this.#thread.on("error", (error: Error) => {
      downfall =
        "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY"
          ? { how: "killed", reason: `its heap reached ${heapMb} MB` }
          : { how: "crashed", reason: "its thread failed", detail: { message: error.message, stack: error.stack } };
    });
    this.#thread.on("exit", (code) => {
      if (!this.#fallen) this.stream.drain();
      this.#fell(downfall ?? { how: "crashed", reason: `its thread ended with exit code ${code}` });
      port1.close();
      events.gone();
    });
  }

  kill(): void {
    // Resolves with its exit, which is told above. A thread inside native code ends when it comes back from there.
    void this.#thread.terminate();
  }

  #fell(downfall: Downfall): void {
    if (this.#fallen) return;
    this.#fallen = true;
    clearInterval(this.#watch);
    this.#events.fell(downfall);
  }
}
