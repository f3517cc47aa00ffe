// Turns that never end. In any other server they are the end of all that the process serves.

import { setTimeout as sleep } from "node:timers/promises";
import { never, spin, type Faults } from "./fault.ts";

function later(when: (fn: () => void) => unknown): Promise<never> {
  when(spin);
  return never();
}

export const endless: Faults = {
  spin: { what: "for (;;);", run: spin },
  catch: {
    what: "an endless loop that catches whatever ends it",
    run: () => {
      for (;;) {
        try {
          spin();
        } catch {
          spin();
        }
      }
    },
  },
  finally: {
    what: "an endless loop in finally, too",
    run: () => {
      try {
        spin();
      } finally {
        spin();
      }
    },
  },
  getter: {
    what: "an endless loop in a getter",
    run: () =>
      ({
        get it(): never {
          return spin();
        },
      }).it,
  },
  "timer-spin": { what: "an endless loop in a timer", run: () => later(setTimeout) },
  "immediate-spin": { what: "an endless loop in setImmediate", run: () => later(setImmediate) },
  "immediates-spin": {
    what: "an endless loop in the second of three immediates",
    run: () => {
      setImmediate(() => {});
      setImmediate(spin);
      setImmediate(() => {});
      return never();
    },
  },
  "after-await": {
    what: "an endless loop behind an await",
    run: async () => {
      await Promise.resolve();
      spin();
    },
  },
  "after-timer": {
    what: "an endless loop behind an awaited timer",
    run: async () => {
      await sleep(1);
      spin();
    },
  },
  "after-fetch": {
    what: "an endless loop behind an awaited fetch",
    run: async () => {
      await (await fetch("data:text/plain,x")).text();
      spin();
    },
  },
  microtasks: {
    what: "for (;;) await nothing",
    run: async () => {
      for (;;) await Promise.resolve();
    },
  },
  nexttick: {
    what: "process.nextTick without end",
    run: () => {
      const again = (): void => process.nextTick(again);
      again();
      return never();
    },
  },
  regex: { what: "a regular expression that backtracks for years", run: () => /^(a+)+$/.test(`${"a".repeat(40)}b`) },
  sort: {
    what: "sorts a million numbers, again and again",
    run: () => {
      const numbers = Array.from({ length: 1_000_000 }, Math.random);
      for (;;) numbers.sort((a, b) => Math.sin(a) - Math.sin(b));
    },
  },
  json: {
    what: "writes and reads JSON without end",
    run: () => {
      const value = Array.from({ length: 10_000 }, (_, at) => ({ at, text: "text" }));
      for (;;) JSON.parse(JSON.stringify(value));
    },
  },
  "json-reviver": { what: "an endless loop inside JSON.parse", run: () => JSON.parse("[1]", () => spin()) },
};
