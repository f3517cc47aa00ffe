// Memory that grows without end: in one turn, where the session that does it is known, or little by little, where only its worker is.

import { setTimeout as sleep } from "node:timers/promises";
import type { Faults } from "./fault.ts";

/** Fills a machine of some GB in seconds, in steps that each are nothing unusual. */
const LEAK_EVERY_MS = 5;

export const memory: Faults = {
  alloc: {
    what: "objects without end",
    run: () => {
      const all: object[] = [];
      for (;;) all.push({ at: all.length });
    },
  },
  "alloc-strings": {
    what: "strings without end",
    run: () => {
      const all: string[] = [];
      for (;;) all.push("text".repeat(1_000) + all.length);
    },
  },
  "alloc-buffers": {
    what: "buffers without end",
    run: () => {
      const all: Buffer[] = [];
      for (;;) all.push(Buffer.alloc(1_000_000, 1));
    },
  },
  "alloc-maps": {
    what: "a map without end",
    run: () => {
      const all = new Map<number, object>();
      for (;;) all.set(all.size, {});
    },
  },
  "alloc-arrays": {
    what: "arrays without end",
    run: () => {
      const all: number[][] = [];
      for (;;) all.push(Array.from({ length: 10_000 }, (_, at) => at));
    },
  },
  leak: {
    what: "keeps 4 MB of objects more every 5 ms",
    run: async () => {
      const all: object[] = [];
      for (;;) {
        for (let more = 0; more < 100_000; more++) all.push({ more });
        await sleep(LEAK_EVERY_MS);
      }
    },
  },
  "leak-buffers": {
    what: "keeps 4 MB of buffers more every 5 ms",
    run: async () => {
      const all: Buffer[] = [];
      for (;;) {
        all.push(Buffer.alloc(4_000_000, 1));
        await sleep(LEAK_EVERY_MS);
      }
    },
  },
};
