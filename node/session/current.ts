// Which session is running. Every entry into session code happens in the scope of its cell; whatever the code starts from there
// (timers, promises, sockets) carries the cell along, which is how a stray fault finds its session.

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import type { Cell } from "./cell.ts";

export const current = new AsyncLocalStorage<Cell | undefined>();

// Nothing is destroyed with a scope, so nobody needs to hear when it is collected.
const MANUAL = { requireManualDestroy: true } as const;
const nobody = new AsyncResource("MESH", MANUAL);

/**
 * The context of a session, to be entered again and again: `AsyncLocalStorage.run` makes a Map at each call, which takes six times as long as
 * entering what is there. Contexts of whoever calls the session are not in it: it would keep them for its life.
 */
export function scopeOf(cell: Cell): AsyncResource {
  return nobody.runInAsyncScope(makeScope, undefined, cell);
}

// Invariant: both undefined, or the scope is the cell's.
let passing: Cell | undefined;
let passingScope: AsyncResource | undefined;

/**
 * The same, kept only until another session asks. Many sessions are created for one request and never entered again: a scope for life would be
 * a third of the memory that they take.
 */
export function passingScopeOf(cell: Cell): AsyncResource {
  if (passingScope !== undefined && passing === cell) return passingScope;
  passing = cell;
  return (passingScope = scopeOf(cell));
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
