// Processes of a benchmark: each pinned to a core, each ending with the harness, and the CPU time they used. Servers share core 0, so that
// "one core" counts both ends of a hop; whatever loads them runs on core 1. Linux only where it pins and reads /proc; elsewhere
// figures come without CPU and with more noise.

import { spawn, spawnSync, type ChildProcess, type StdioOptions } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import os from "node:os";
import { createInterface } from "node:readline";

export const CORES = { server: 0, load: 1 } as const;

export const canPin = spawnSync("taskset", ["-V"]).status === 0 && os.availableParallelism() > CORES.load;

/** Nodes fork workers, and load the application in each. */
const READY_MS = 60_000;
/** A server that was told to end and has not by now is killed. */
const END_MS = 15_000;
/** Levels of log lines. */
const TROUBLE = /\b(?:warn|error)\b/i;
/** The unit of /proc/<pid>/stat: the kernel's USER_HZ is 100 wherever Node runs. */
const TICK_US = 10_000;

export interface Start {
  /** `any`: wherever the kernel likes. */
  readonly core: keyof typeof CORES | "any";
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly stdio?: StdioOptions;
}

export function startPinned(start: Start): ChildProcess {
  const pin = canPin && start.core !== "any" ? ["taskset", "-c", String(CORES[start.core])] : [];
  const [command = "", ...args] = [...pin, start.command, ...start.args];
  return spawn(command, args, {
    env: { ...process.env, ...start.env },
    stdio: start.stdio ?? ["ignore", "pipe", "pipe", "ipc"],
    ...(start.cwd === undefined ? {} : { cwd: start.cwd }),
  });
}

/**
 * The first line a server prints, parsed: it is ready then. Rejects with what it said on stderr. Trouble that it tells of later is shown,
 * unless `quiet`.
 */
export async function firstLine(child: ChildProcess, what: string, { quiet = false } = {}): Promise<unknown> {
  if (child.stdout === null) throw new Error(`${what} has no stdout`);
  let said = "";
  let ready = false;
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-10_000);
    // A mesh that is suspended for want of CPU measures badly: the reader should know.
    if (ready && !quiet && TROUBLE.test(text)) console.error(text.trimEnd());
  });
  const lines = createInterface({ input: child.stdout });
  const aborter = new AbortController();
  const timer = setTimeout(() => aborter.abort(), READY_MS);
  const ended = once(child, "exit", { signal: aborter.signal }).then(([code]) => {
    throw new Error(`${what} ended with code ${String(code)} before it was ready\n${said}`);
  });
  // Rejects when the line is there, too.
  ended.catch(() => {});
  try {
    const [line] = (await Promise.race([once(lines, "line", { signal: aborter.signal }), ended])) as [string];
    ready = true;
    return JSON.parse(line);
  } catch (error) {
    throw aborter.signal.aborted ? new Error(`${what} was not ready within ${READY_MS / 1000} s\n${said}`) : error;
  } finally {
    clearTimeout(timer);
    aborter.abort();
  }
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  const kill = setTimeout(() => child.kill("SIGKILL"), END_MS);
  await exit;
  clearTimeout(kill);
}

/** User and system time of these processes so far; NaN where there is no /proc. */
export function cpuUs(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      // Behind the command's name, which may hold anything, come fields 3 and on; 14 and 15 are utime and stime.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      return NaN;
    }
  }
  return ticks * TICK_US;
}
