// What a worker and a process of its own agree on before they can talk: on the command line of the process, and by number.

import type { Socket } from "node:net";

/** File descriptors of a process that holds a session. The first carries packets, the second only the word of its watch. */
export const PACKETS_FD = 3;
export const WATCH_FD = 4;

export interface ProcessLimits {
  readonly turnBudgetMs: number;
  /** Resident memory of the whole process. */
  readonly rssMb: number;
}

/** Why the watch of a process ends it; written to WATCH_FD as one line of JSON. */
export interface Verdict {
  readonly reason: "turn budget" | "memory";
  readonly durationMs: number;
}

export function processArguments({ turnBudgetMs, rssMb }: ProcessLimits): string[] {
  return [String(turnBudgetMs), String(rssMb)];
}

export function processLimitsOf(argv: readonly string[]): ProcessLimits {
  return { turnBudgetMs: Number(argv[2]), rssMb: Number(argv[3]) };
}

/** What arrived at WATCH_FD; undefined when the watch said nothing, or could not finish. */
export function verdictOf(line: string): Verdict | undefined {
  try {
    // Written by our own watch, of the same code.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return line === "" ? undefined : (JSON.parse(line) as Verdict);
  } catch {
    return undefined;
  }
}

/** The other end of one of the descriptors above, which are pipes in both directions. */
export function isPipe(stream: object | null | undefined): stream is Socket {
  return stream !== null && stream !== undefined && "setNoDelay" in stream;
}
