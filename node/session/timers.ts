// Timers that session code sets belong to the session: they end with it, and their callbacks are entries into it. Node's
// functions are replaced by ones that look whether a session is running and otherwise do what they always did. A session
// without timers pays nothing. Installed before the application is loaded.

import { syncBuiltinESMExports } from "node:module";
import { getCallSites, promisify } from "node:util";
import type { Cell } from "./cell.ts";
import { current } from "./current.ts";
import { clearBooked, setBooked } from "./immediates.ts";
import { SessionTimer, adopt, timerOf } from "./session-timer.ts";
import { timerPromises } from "./timer-promises.ts";
import { turns } from "./turns.ts";

const timers = process.getBuiltinModule("node:timers");
const native = { ...timers };
const promises = process.getBuiltinModule("node:timers/promises");

type Callback = (...parameters: unknown[]) => unknown;

let installed = false;

/** Replaces `setTimeout` and its kin on `globalThis`, in `node:timers` and `node:timers/promises`. Idempotent. */
export function installSessionTimers(): void {
  if (installed) return;
  installed = true;
  const replaced = timerPromises(promises, sessionTimeout, sessionInterval, sessionImmediate);
  custom(sessionTimeout, replaced.setTimeout);
  custom(sessionImmediate, replaced.setImmediate);
  const functions = {
    setTimeout: sessionTimeout,
    setInterval: sessionInterval,
    setImmediate: sessionImmediate,
    clearTimeout: sessionClear,
    clearInterval: sessionClear,
    clearImmediate: sessionClearImmediate,
  };
  for (const [name, value] of Object.entries(functions)) Object.defineProperty(value, "name", { value: name });
  Object.assign(timers, functions);
  Object.assign(globalThis, functions);
  Object.assign(promises.scheduler, replaced.scheduler);
  Object.assign(promises, {
    setTimeout: replaced.setTimeout,
    setInterval: replaced.setInterval,
    setImmediate: replaced.setImmediate,
  });
  syncBuiltinESMExports();
}

function sessionTimeout(callback: Callback, ms?: number, ...parameters: unknown[]): NodeJS.Timeout {
  const cell = ownerOf(callback);
  if (cell === undefined) return native.setTimeout(callback, ms, ...parameters);
  const timer = new SessionTimer(cell, callback, parameters);
  const run = (): unknown => {
    timer.forget();
    return Reflect.apply(callback, handle, parameters);
  };
  const handle = native.setTimeout(() => due(cell, timer, run), ms);
  return adopt(handle, timer);
}

function sessionInterval(callback: Callback, ms?: number, ...parameters: unknown[]): NodeJS.Timeout {
  const cell = ownerOf(callback);
  if (cell === undefined) return native.setInterval(callback, ms, ...parameters);
  const timer = new SessionTimer(cell, callback, parameters);
  const run = (): unknown => Reflect.apply(callback, handle, parameters);
  const handle = native.setInterval(() => due(cell, timer, run), ms);
  return adopt(handle, timer);
}

function sessionImmediate(callback: Callback, ...parameters: unknown[]): NodeJS.Immediate {
  const cell = ownerOf(callback);
  if (cell === undefined)
    return typeof callback === "function" ? setBooked(callback, parameters) : native.setImmediate(callback);
  const timer = new SessionTimer(cell, callback, parameters);
  const run = (): unknown => {
    timer.forget();
    return Reflect.apply(callback, handle, parameters);
  };
  const handle = setBooked(() => due(cell, timer, run), []);
  return adopt(handle, timer);
}

/** Node runs all microtasks between two timers, so each has a turn of its own. */
function due(cell: Cell, timer: SessionTimer, run: () => unknown): void {
  const first = turns.enterTop(undefined, undefined);
  try {
    cell.timerDue(timer, run);
  } finally {
    if (first) turns.leaveTop();
  }
}

function sessionClear(handle: NodeJS.Timeout | string | number | undefined): void {
  native.clearTimeout(handle);
  if (typeof handle === "object" && handle !== null) timerOf.get(handle)?.forget();
  else if (handle !== undefined) {
    const number = Number(handle);
    for (const timer of current.getStore()?.belongings.timers ?? []) if (timer.number === number) timer.forget();
  }
}

function sessionClearImmediate(handle: NodeJS.Immediate | undefined): void {
  clearBooked(handle);
  if (typeof handle === "object" && handle !== null) timerOf.get(handle)?.forget();
}

/** The session that a new timer belongs to; undefined for timers of Node itself and for what Node will refuse. */
function ownerOf(callback: unknown): Cell | undefined {
  const cell = current.getStore();
  if (cell === undefined || typeof callback !== "function") return undefined;
  // Undici keeps one clock for all requests of the process and sets it through the global function, whoever fetches first: it
  // must not end with that session. Frames: this function, the timer function, its caller.
  const caller = getCallSites(3)[2];
  return caller?.scriptName.startsWith("node:") === true ? undefined : cell;
}

function custom(timerFunction: object, value: unknown): void {
  Object.defineProperty(timerFunction, promisify.custom, { enumerable: true, configurable: true, value });
}
