// `process.nextTick` of session code. Ticks outlive a turn that is ended by force, so a session that chains them for ever would go on
// after its end and keep the event loop from moving: those of a condemned session are dropped.

import type { Cell } from "./cell.ts";
import { current } from "./current.ts";

/** Ticks that an ended session may still run: streams and sockets of libraries clean up in them. More are a loop. */
const TICKS_AFTER_END_MAX = 1_000;

const native = process.nextTick;
const afterEnd = new WeakMap<Cell, number>();
let condemned: Cell | undefined;
let count = 0;

type Callback = (...parameters: unknown[]) => unknown;

/** Replaces `process.nextTick` by one that does the same, except for sessions. */
export function installSessionTicks(): void {
  Object.defineProperty(sessionTick, "name", { value: "nextTick" });
  process.nextTick = sessionTick;
}

/** How many ticks of sessions have run. */
export function sessionTicks(): number {
  return count;
}

/** From now on no tick of the session runs, although it has not ended yet. */
export function condemnTicks(cell: Cell | undefined): void {
  condemned = cell;
}

/** Nobody's tick, whoever calls. */
export function ownTick(callback: () => void): void {
  native(callback);
}

function sessionTick(callback: Callback, ...parameters: unknown[]): void {
  const cell = current.getStore();
  if (cell === undefined || typeof callback !== "function") native(callback, ...parameters);
  else native(runTick, cell, callback, parameters);
}

function runTick(cell: Cell, callback: Callback, parameters: unknown[]): void {
  count++;
  if (cell === condemned) return;
  if (cell.ended) {
    const ticks = (afterEnd.get(cell) ?? 0) + 1;
    if (ticks > TICKS_AFTER_END_MAX) return;
    afterEnd.set(cell, ticks);
  }
  callback(...parameters);
}
