// Which `await` at the top level of a module is still waited for, while an application loads. Node says so only when its event loop
// runs dry, and that of a worker never does. V8 tells of each promise that an `await` makes; where it was made is where it waits.
// Costs a stack of one frame for each promise of the load, and nothing after it.

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promiseHooks } from "node:v8";

/** Promises that wait at once. More are no top level that a person wrote; those beyond are not looked at. */
const PROMISES_MAX = 10_000;
/** Modules that a message names. */
const PLACES_MAX = 3;
/** Of the line that waits. */
const LINE_CHARACTERS_MAX = 80;

export interface TopLevelWaits {
  /** `db.ts:5 "await connect()"`; empty when nothing is known to wait. */
  places(): string[];
  stop(): void;
}

export function watchTopLevelWaits(): TopLevelWaits {
  const made = new Map<Promise<unknown>, { stack?: string }>();
  const forget = (promise: Promise<unknown>): void => void made.delete(promise);
  const stop = promiseHooks.createHook({ init, before: forget, settled: forget });
  function init(promise: Promise<unknown>, parent: Promise<unknown> | undefined): void {
    if (parent === undefined || made.size >= PROMISES_MAX) return;
    const where: { stack?: string } = {};
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 1;
    Error.captureStackTrace(where, init);
    Error.stackTraceLimit = limit;
    made.set(promise, where);
  }
  return {
    places: () => {
      const found = [...made.values()].map(({ stack }) => placeOf(stack ?? "")).filter((place) => place !== undefined);
      return [...new Set(found)].slice(0, PLACES_MAX);
    },
    stop: () => {
      stop();
      made.clear();
    },
  };
}

/** Our own entry waits for the application at its top level, too. */
const entry = pathToFileURL(process.argv[1] ?? "").href;

function placeOf(stack: string): string | undefined {
  // Of the top level of a module the frame has no function in front of its place.
  const [, url, line] = /^ +at (file:\S+):(\d+):\d+$/m.exec(stack) ?? [];
  if (url === undefined || line === undefined || url === entry) return undefined;
  const file = fileURLToPath(url);
  const relative = path.relative(process.cwd(), file);
  return `${relative.startsWith("..") ? file : relative}:${line}${lineOf(file, Number(line))}`;
}

function lineOf(file: string, line: number): string {
  try {
    const text = readFileSync(file, "utf8").split("\n", line)[line - 1]?.trim() ?? "";
    const shown = text.length > LINE_CHARACTERS_MAX ? `${text.slice(0, LINE_CHARACTERS_MAX)}...` : text;
    return shown === "" ? "" : ` \`${shown}\``;
  } catch {
    return ""; // It has gone since it was loaded.
  }
}
