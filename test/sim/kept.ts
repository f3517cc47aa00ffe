// Schedules that found a mistake once, as they were when it was put right. Each is a file in kept/, named after what was wrong.

import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Schedule } from "./schedule.ts";

const FOLDER = path.join(import.meta.dirname, "kept");

export function keptNames(): string[] {
  return globSync("*.json", { cwd: FOLDER })
    .map((file) => file.slice(0, -".json".length))
    .sort();
}

export function kept(name: string): Schedule {
  return readSchedule(path.join(FOLDER, `${name}.json`));
}

export function readSchedule(file: string): Schedule {
  return JSON.parse(readFileSync(file, "utf8")) as Schedule;
}
