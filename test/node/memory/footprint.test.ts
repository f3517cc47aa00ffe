// The size of what a session keeps, against what was put in.

import { EventEmitter } from "node:events";
import fs from "node:fs";
import timers from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { footprintOf, type Footprint } from "../../../node/memory/footprint.ts";
import { PrivateFields } from "../../../node/memory/private-fields.ts";

const MIB = 1024 * 1024;

let privateFields: PrivateFields;
beforeAll(() => {
  privateFields = new PrivateFields();
});
afterAll(() => privateFields.close());

function walk(root: unknown, foreign: (object: object) => boolean = () => false): Footprint {
  const walking = footprintOf({ roots: [root], foreign, privateFields });
  for (;;) {
    const { done, value } = walking.next();
    if (done === true) return value;
  }
}

const text = (at: number): string => String(at).padStart(100, "x");

class Hidden {
  #log: string[] = [];
  add(entry: string): this {
    this.#log.push(entry);
    return this;
  }
}

class Nested {
  readonly inner = new Hidden();
  #deep = new Hidden();
  add(entry: string): this {
    this.#deep.add(entry);
    return this;
  }
}

class Inheriting extends Hidden {}

const COUNT = 20_000;
const holders: Record<string, () => object> = {
  "an array of texts": () => Array.from({ length: COUNT }, (_, at) => text(at)),
  "a map": () => new Map(Array.from({ length: COUNT }, (_, at) => [at, text(at)])),
  "a set": () => new Set(Array.from({ length: COUNT }, (_, at) => text(at))),
  "an object by name": () => Object.fromEntries(Array.from({ length: COUNT }, (_, at) => [`n${at}`, text(at)])),
  "objects in an array": () => Array.from({ length: COUNT }, (_, at) => ({ at, text: text(at) })),
  "arrays in a map": () =>
    new Map(
      Array.from({ length: COUNT / 20 }, (_, at) => [
        at,
        Array.from({ length: 20 }, (_one, more) => text(at * 20 + more)),
      ]),
    ),
  "a variable of a closure": () => {
    const log: string[] = [];
    for (let at = 0; at < COUNT; at++) log.push(text(at));
    return { last: () => log.at(-1) };
  },
  "a private field": () => filled(new Hidden()),
  "a private field of a base class": () => filled(new Inheriting()),
  "a private field of an object in a private field": () => filled(new Nested()),
};

function filled<Kind extends { add(entry: string): unknown }>(holder: Kind): Kind {
  for (let at = 0; at < COUNT; at++) holder.add(text(at));
  return holder;
}

test.for(Object.entries(holders))("%s is found in its size", ([, make]) => {
  const { bytes } = walk({ held: make() });
  expect(bytes).toBeGreaterThan(COUNT * 100);
  expect(bytes).toBeLessThan(COUNT * 400);
});

test("a buffer counts once, whatever looks at it", () => {
  const buffer = Buffer.alloc(MIB);
  const { bytes } = walk({ one: buffer, two: new Uint16Array(buffer.buffer), three: [buffer.subarray(5)] });
  expect(bytes).toBeGreaterThanOrEqual(MIB);
  expect(bytes).toBeLessThan(1.1 * MIB);
});

test("a linked list is found up to the bound of the walk", () => {
  interface Link {
    readonly next: Link | undefined;
  }
  let list: Link | undefined;
  for (let at = 0; at < 100_000; at++) list = { next: list };
  expect(walk({ list }).bytes).toBeGreaterThan(100_000 * 24);
});

test("one text in a thousand places weighs as one", () => {
  const same = "y".repeat(10_000);
  expect(walk(Array.from({ length: 1_000 }, () => same)).bytes).toBeLessThan(200_000);
});

test("a millionfold container is walked in a moment", () => {
  const million = Array.from({ length: 1_000_000 }, (_, at) => ({ at }));
  expect(walk({ million }).seen.size).toBeLessThan(1_000);
});

test("accessors and proxies run nothing", () => {
  const trap = (): never => {
    throw new Error("session code ran");
  };
  class OwnMap extends Map<string, string> {
    override get size(): number {
      return trap();
    }
    override [Symbol.iterator](): never {
      return trap();
    }
    override entries(): never {
      return trap();
    }
  }
  const proxy = new Proxy({}, { ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap, get: trap });
  const object = {
    get it(): never {
      return trap();
    },
    proxy,
    map: new OwnMap(),
  };
  expect(walk(object).bytes).toBeGreaterThan(0);
});

test("what is foreign is left alone", () => {
  const shared = { texts: Array.from({ length: COUNT }, (_, at) => text(at)) };
  expect(walk({ shared }, (object) => object === shared).bytes).toBeLessThan(1_000);
});

test("variables of a module are not those of a function in it", async () => {
  // As Node loads it: the test runner makes a function of each module.
  const source = `const log = Array.from({ length: ${COUNT} }, (_, at) => "x".repeat(100) + at); export const last = () => log.at(-1);`;
  const last: unknown = Reflect.get(await import(`data:text/javascript,${encodeURIComponent(source)}`), "last");
  expect(last).toBeInstanceOf(Function);
  expect(walk({ last }).bytes).toBeLessThan(10_000);
});

test("the modules of Node are not a session's, whose function leads there", () => {
  const { bytes, seen } = walk({ read: fs.readFile, wait: timers.setTimeout, emit: EventEmitter.prototype.emit });
  expect(seen.size).toBeLessThan(50);
  expect(bytes).toBeLessThan(10_000);
});
