// Which session is running. Every entry into session code happens inside `current.run(cell, ...)`; whatever the code starts
// from there (timers, promises, sockets) carries the cell along, which is how a stray fault finds its session.

import { AsyncLocalStorage } from "node:async_hooks";
import type { Cell } from "./cell.ts";

export const current = new AsyncLocalStorage<Cell>();

const leave = AsyncLocalStorage.snapshot();

/**
 * Runs our own code as nobody's. A timer that the mesh set while a session's context was active would otherwise end with that
 * session, and a fault of the mesh would be blamed on it.
 */
export function outside<Result>(fn: () => Result): Result {
  return current.getStore() === undefined ? fn() : leave(fn);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
