// Finds every process that descends from a test, by a mark in its environment: children of children inherit it, whoever started
// them and whoever their parent is by now. Reads /proc, so Linux only.

import { readdirSync, readFileSync } from "node:fs";

const MARK = "TEST_OF_MESH_MARK";

export function markedEnv(mark: string): Record<string, string> {
  return { [MARK]: mark };
}

/** Command lines by pid; zombies have none and do not count. */
export function marked(mark: string): { readonly pid: number; readonly command: string }[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      try {
        if (!readFileSync(`/proc/${entry}/environ`, "utf8").split("\0").includes(`${MARK}=${mark}`)) return [];
        const command = readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ").trim();
        return command === "" ? [] : [{ pid: Number(entry), command }];
      } catch {
        return []; // It ended between the two looks, or belongs to somebody else.
      }
    });
}

/** By pid, one after the other. */
export function killMarked(mark: string): void {
  for (const { pid } of marked(mark)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Gone by itself.
    }
  }
}
