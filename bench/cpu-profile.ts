// Reads the .cpuprofile files that a mesh leaves behind, and names the functions that used the time.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import type { Profile } from "./scenario.ts";

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** On the monotonic clock, in microseconds. */
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const TOP = 25;
const WORKER_ENTRY = "node/worker/main.ts";
/** Waiting for events is no cost. */
const IDLE = new Set(["(idle)"]);

/** Files of the worker processes: those that ran the entry of a worker. Launcher, primaries and NATS are not on a request's path. */
export function workerProfiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cpuprofile"))
    .map((name) => path.join(folder, name))
    .filter((file) => readFileSync(file, "utf8").includes(WORKER_ENTRY));
}

/** The functions with the most time of their own within the windows, one a line, with their share of the busy time. */
export function topFunctions(file: string, windows: Profile["windows"]): string {
  const profile = JSON.parse(readFileSync(file, "utf8")) as CpuProfile;
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const selfUs = new Map<string, number>();
  let busyUs = 0;
  let nowUs = profile.startTime;
  for (const [at, id] of profile.samples.entries()) {
    const name = names.get(id) ?? "?";
    const us = profile.timeDeltas[at] ?? 0;
    nowUs += us;
    if (IDLE.has(name) || !windows.some(({ fromUs, toUs }) => nowUs >= fromUs && nowUs <= toUs)) continue;
    busyUs += us;
    selfUs.set(name, (selfUs.get(name) ?? 0) + us);
  }
  return [...selfUs]
    .sort((a, b) => b[1] - a[1])
    .slice(0, TOP)
    .map(([name, us]) => `${((us / busyUs) * 100).toFixed(1).padStart(5)} %  ${name}`)
    .join("\n");
}

function nameOf(frame: CpuProfile["nodes"][number]["callFrame"]): string {
  const name = frame.functionName === "" ? "(anonymous)" : frame.functionName;
  if (frame.url === "") return name;
  const place = frame.url.replace(/^file:\/\//, "").replace(`${path.resolve(import.meta.dirname, "..")}/`, "");
  return `${name}  ${place}:${frame.lineNumber + 1}`;
}
