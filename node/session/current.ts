// Which session is running. Every entry into session code happens in the scope of its cell; whatever the code starts from there
// (timers, promises, sockets) carries the cell along, which is how a stray fault finds its session.

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import type { Cell } from "./cell.ts";

export const current = new AsyncLocalStorage<Cell | undefined>();

// Nothing is destroyed with a scope, so nobody needs to hear when it is collected.
const MANUAL = { requireManualDestroy: true } as const;
const nobody = new AsyncResource("MESH", MANUAL);

/**
 * The context of a session, to be entered again and again: `runAs` makes a Map at each call, which takes six times as long as entering what
 * is there. Contexts of whoever calls the session are not in it: it would keep them for its life.
 */
export function scopeOf(cell: Cell): AsyncResource {
  return nobody.runInAsyncScope(makeScope, undefined, cell);
}

/**
 * The same for one call, after which nothing of it is left. Many sessions are entered for one request and never again: a scope would be a
 * third of the memory that they take.
 */
export function runAs<Arguments extends unknown[], Result>(
  cell: Cell,
  fn: (...parameters: Arguments) => Result,
  ...parameters: Arguments
): Result {
  return nobody.runInAsyncScope(current.run<Result, Arguments>, current, cell, fn, ...parameters);
}

function makeScope(cell: Cell): AsyncResource {
  return current.run(cell, newScope);
}

function newScope(): AsyncResource {
  return new AsyncResource("SESSION", MANUAL);
}

/**
 * Runs our own code as nobody's. A timer that the mesh set while a session's context was active would otherwise end with that
 * session, and a fault of the mesh would be blamed on it.
 */
export function outside<Result>(fn: () => Result): Result {
  return current.getStore() === undefined ? fn() : nobody.runInAsyncScope(fn);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
