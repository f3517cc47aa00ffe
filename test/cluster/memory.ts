// Watches the resident memory of processes while something runs.

import { readFileSync } from "node:fs";

/** A transfer of a second must be seen several times. */
const LOOK_MS = 50;

/** By how many bytes the process that grew most grew, at its worst. Processes that end meanwhile count with what was seen. */
export async function growthDuring(pids: readonly number[], work: () => Promise<unknown>): Promise<number> {
  const before = new Map(pids.map((pid) => [pid, residentBytes(pid)]));
  let growth = 0;
  const look = (): void => {
    for (const [pid, bytes] of before) growth = Math.max(growth, residentBytes(pid) - bytes);
  };
  const timer = setInterval(look, LOOK_MS);
  try {
    await work();
    look();
    return growth;
  } finally {
    clearInterval(timer);
  }
}

export function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // Ended.
  }
}
