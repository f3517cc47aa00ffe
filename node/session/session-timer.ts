// What is known of one timer of one session. The object that session code holds stays Node's own, with a prototype in between
// that tells the session when the timer is closed or started again.

import { MeshError } from "#proto";
import type { Cell } from "./cell.ts";
import { clearBooked } from "./immediates.ts";

// As they were before `installSessionTimers`.
const { setTimeout, setImmediate, clearTimeout, clearImmediate } = { ...process.getBuiltinModule("node:timers") };

/**
 * Timers and immediates of one session at a time: some for each of its 10,000 sockets and its 10,000 events. Too small: refuses a large
 * room; too large: one that sets timers in a loop fills the worker before it is noticed.
 */
const TIMERS_MAX = 50_000;

type Handle = NodeJS.Timeout | NodeJS.Immediate;

export class SessionTimer {
  readonly cell: Cell;
  /** The section of the session's events in which it was set: see `Cell.timerDue`. */
  readonly section: number;
  /** Due, and waiting for the gate. */
  queued = false;
  /** What session code knows it by, once it has turned the handle into a number. */
  number: number | undefined = undefined;
  handle: Handle | undefined = undefined;

  /** What session code has set it for, where all that it holds may be found. */
  readonly callback: unknown;
  readonly parameters: readonly unknown[];

  /** Throws `overloaded` into the code that sets one too many. */
  constructor(cell: Cell, callback: unknown, parameters: readonly unknown[]) {
    if (cell.belongings.timers.size >= TIMERS_MAX) {
      const { key } = cell.id;
      throw new MeshError("overloaded", `${key} has ${TIMERS_MAX} timers, which is all that one session may have`, {
        session: key,
      });
    }
    this.cell = cell;
    this.callback = callback;
    this.parameters = parameters;
    this.section = cell.section;
  }

  hasRef(): boolean {
    return this.handle?.hasRef() ?? false;
  }

  /** It will not run again. */
  forget(): void {
    this.cell.belongings.removeTimer(this);
  }

  /** The session has ended. */
  clear(): void {
    if (this.handle === undefined) return;
    if ("refresh" in this.handle) clearTimeout(this.handle);
    else clearBooked(this.handle);
  }
}

/** Finds the timer of a handle that session code gives back. */
export const timerOf = new WeakMap<object, SessionTimer>();

/** Ties the handle to its timer. What an ended session sets never runs. */
export function adopt<Kind extends Handle>(handle: Kind, timer: SessionTimer): Kind {
  timer.handle = handle;
  if (timer.cell.ended) {
    timer.clear();
    return handle;
  }
  timerOf.set(handle, timer);
  timer.cell.belongings.addTimer(timer);
  Object.setPrototypeOf(handle, "refresh" in handle ? timeoutPrototype : immediatePrototype);
  return handle;
}

const nativeTimeout: NodeJS.Timeout = protoOf(clearedTimeout());
// Writable, or a library that wraps the methods of its timers (zone.js) could not.
const timeoutPrototype = Object.create(nativeTimeout, {
  close: {
    writable: true,
    value(this: NodeJS.Timeout): NodeJS.Timeout {
      timerOf.get(this)?.forget();
      return nativeTimeout.close.call(this);
    },
  },
  refresh: {
    writable: true,
    value(this: NodeJS.Timeout): NodeJS.Timeout {
      const timer = timerOf.get(this);
      if (timer?.cell.ended === true) return this;
      timer?.cell.belongings.addTimer(timer);
      return nativeTimeout.refresh.call(this);
    },
  },
  [Symbol.dispose]: {
    writable: true,
    value(this: NodeJS.Timeout): void {
      this.close();
    },
  },
  [Symbol.toPrimitive]: {
    writable: true,
    value(this: NodeJS.Timeout): number {
      const number = nativeTimeout[Symbol.toPrimitive].call(this);
      const timer = timerOf.get(this);
      if (timer !== undefined) timer.number = number;
      return number;
    },
  },
});

const nativeImmediate: NodeJS.Immediate = protoOf(clearedImmediate());
const immediatePrototype = Object.create(nativeImmediate, {
  [Symbol.dispose]: {
    writable: true,
    value(this: NodeJS.Immediate): void {
      timerOf.get(this)?.forget();
      nativeImmediate[Symbol.dispose].call(this);
    },
  },
});

function clearedTimeout(): NodeJS.Timeout {
  const handle = setTimeout(() => {}, 1);
  clearTimeout(handle);
  return handle;
}

function clearedImmediate(): NodeJS.Immediate {
  const handle = setImmediate(() => {});
  clearImmediate(handle);
  return handle;
}

function protoOf<Kind extends object>(instance: Kind): Kind {
  return Object.getPrototypeOf(instance);
}
