// The CPU time that a process of a mesh got. Reads /proc, so Linux only.

import { readFileSync } from "node:fs";

/** The unit of /proc/<pid>/stat: the kernel's USER_HZ is 100 wherever Node runs. */
const TICK_MS = 10;

/** Of its main thread, user and system. */
export function mainThreadCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8");
  // Behind the name of the thread, which may hold anything, come fields 3 and on; 14 and 15 are utime and stime.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
