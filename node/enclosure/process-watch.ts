// Entry of the watch: a thread in each process that holds a session. It sees what the main thread cannot, because that one may be in a
// turn that never ends: that the worker is gone, that the turn takes too long, that memory runs out. It ends the process then.

import { Socket } from "node:net";
import { workerData } from "node:worker_threads";
import { ResidentMemory } from "../resident-memory.ts";
import { progressOf, type ProgressRecord } from "./messages.ts";
import type { ProcessLimits, Verdict } from "./process-limits.ts";
import { LOOK_MS, TurnLimit } from "./turn-limit.ts";

const MIB = 1024 * 1024;
/** The word to the worker gets so long to leave. */
const WORD_MS = 100;

export interface WatchStart {
  readonly fd: number;
  readonly progress: ProgressRecord;
  readonly limits: ProcessLimits;
}

// Written by our own main thread, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const { fd, progress, limits } = workerData as WatchStart;

const end = (): void => void process.kill(process.pid, "SIGKILL");
const pipe = new Socket({ fd, readable: true, writable: true });
pipe.on("error", end);
pipe.on("close", end);
pipe.on("end", end);
pipe.resume();

const memory = new ResidentMemory();
const turn = new TurnLimit(limits.turnBudgetMs);
setInterval(() => {
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1_000;
  const durationMs = turn.look({ progress: progressOf(progress), nowMs: performance.now(), cpuMs });
  if (durationMs !== undefined) tell({ reason: "turn budget", durationMs });
  else if (memory.bytes() > limits.rssMb * MIB) tell({ reason: "memory", durationMs: 0 });
}, LOOK_MS);

function tell(verdict: Verdict): void {
  setTimeout(end, WORD_MS);
  pipe.write(`${JSON.stringify(verdict)}\n`, end);
}
