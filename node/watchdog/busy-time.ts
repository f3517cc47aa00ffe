// How much the main thread works, as another thread of the process can tell: by the CPU time of the process, and whether the kernel has it
// asleep. Where there is no /proc it is never known to be asleep.

import { openSync, readSync } from "node:fs";
import type { Sight } from "./suspicion.ts";

/** The state of the main thread is within the first few fields. */
const STAT_BYTES = 128;

export class BusyTime {
  readonly #stat = Buffer.alloc(STAT_BYTES);
  /** Opened once: a worker that has no descriptor left must be watched, too. */
  readonly #file = openStat();

  sight(): Sight {
    const all = process.cpuUsage();
    const own = process.threadCpuUsage();
    // What is left is the main thread's, and that of helpers such as those that collect garbage.
    const cpuMs = (all.user + all.system - own.user - own.system) / 1_000;
    return { nowMs: performance.now(), cpuMs, asleep: this.#asleep() };
  }

  #asleep(): boolean {
    if (this.#file === undefined) return false;
    const length = readSync(this.#file, this.#stat, 0, STAT_BYTES, 0);
    // Behind the name of the thread, which may hold anything.
    const state = this.#stat.lastIndexOf(")", length) + 2;
    return this.#stat[state] === "S".charCodeAt(0);
  }
}

function openStat(): number | undefined {
  try {
    // The main thread has the id of its process.
    return openSync(`/proc/self/task/${process.pid}/stat`, "r");
  } catch {
    return undefined;
  }
}
