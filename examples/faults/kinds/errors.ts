// Errors that nobody catches, some of them far from any handler. Each ends its session, and the session that it belongs to is found by the
// context in which it happened.

import { EventEmitter } from "node:events";
import { never, thrower, type Faults } from "./fault.ts";

function throwing(value: unknown): never {
  throw value;
}

function deeper(): number {
  return deeper() + 1;
}

export const errors: Faults = {
  throw: { what: "the handler throws", run: thrower },
  "throw-null": { what: "the handler throws null", run: () => throwing(null) },
  "throw-undefined": { what: "the handler throws undefined", run: () => throwing(undefined) },
  "throw-frozen": {
    what: "the handler throws a frozen error",
    run: () => throwing(Object.freeze(new Error("frozen"))),
  },
  "throw-nasty": {
    what: "the handler throws an object whose message and stack throw",
    run: () =>
      throwing({
        get stack(): string {
          throw new Error("no stack for you");
        },
        get message(): string {
          throw new Error("no message for you");
        },
      }),
  },
  reject: { what: "the handler's promise rejects", run: () => Promise.reject(new Error("told to")) },
  stack: { what: "endless recursion", run: deeper },
  "stray-rejection": {
    what: "a promise that nobody awaits rejects",
    run: () => {
      void Promise.reject(new Error("nobody waits"));
      return never();
    },
  },
  "timer-throw": {
    what: "a timer throws",
    run: () => {
      setTimeout(thrower, 1);
      return never();
    },
  },
  "tick-throw": {
    what: "a process.nextTick throws",
    run: () => {
      process.nextTick(thrower);
      return never();
    },
  },
  "microtask-throw": {
    what: "a queueMicrotask throws",
    run: () => {
      queueMicrotask(thrower);
      return never();
    },
  },
  "immediate-throw": {
    what: "a setImmediate throws",
    run: () => {
      setImmediate(thrower);
      return never();
    },
  },
  "emitter-error": {
    what: "an emitter emits an error for which nobody listens",
    run: () => {
      setTimeout(() => new EventEmitter().emit("error", new Error("nobody listens")), 1);
      return never();
    },
  },
};
