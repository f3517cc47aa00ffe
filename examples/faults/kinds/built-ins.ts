// Edits of what all sessions of a process share: globals and built-in objects. They are frozen, and modules are strict code, so each throws.

import { spin, type Faults } from "./fault.ts";

function replace(object: object, name: PropertyKey): void {
  if (!Reflect.set(object, name, () => spin())) throw new TypeError(`${String(name)} is read-only`);
}

function define(object: object, name: PropertyKey): void {
  Object.defineProperty(object, name, { value: spin });
}

function remove(object: object, name: PropertyKey): void {
  if (!Reflect.deleteProperty(object, name)) throw new TypeError(`${String(name)} stays`);
}

const globals: Faults = {
  globals: { what: "globalThis.setTimeout = ...", run: () => Object.assign(globalThis, { setTimeout: () => 0 }) },
  "assign-promise": {
    what: "globalThis.Promise = ...",
    run: () => Object.assign(globalThis, { Promise: class extends Promise<unknown> {} }),
  },
  "assign-reflect": { what: "globalThis.Reflect = ...", run: () => Object.assign(globalThis, { Reflect: {} }) },
  "assign-process": { what: "globalThis.process = ...", run: () => Object.assign(globalThis, { process: {} }) },
  "delete-map": { what: "delete globalThis.Map", run: () => remove(globalThis, "Map") },
  "redefine-exit": { what: "redefines process.exit", run: () => define(process, "exit") },
};

const prototypes: Faults = {
  prototype: { what: "Array.prototype.map = ...", run: () => replace(Array.prototype, "map") },
  "extend-array": { what: "Array.prototype.last = ...", run: () => Object.assign(Array.prototype, { last: spin }) },
  "edit-object": { what: "Object.prototype.toString = ...", run: () => replace(Object.prototype, "toString") },
  "extend-object": { what: "makes every object a thenable", run: () => define(Object.prototype, "then") },
  "edit-promise": { what: "Promise.prototype.then = ...", run: () => replace(Promise.prototype, "then") },
  "edit-map": { what: "Map.prototype.get = ...", run: () => replace(Map.prototype, "get") },
  "edit-json": { what: "JSON.stringify = ...", run: () => replace(JSON, "stringify") },
  "edit-iterator": {
    what: "replaces next() of the iterators of arrays",
    run: () => {
      const iterators: unknown = Object.getPrototypeOf([].values());
      if (typeof iterators === "object" && iterators !== null) replace(iterators, "next");
    },
  },
  "edit-response": { what: "Response.json = ...", run: () => replace(Response, "json") },
  "edit-console": { what: "console.log = ...", run: () => replace(console, "log") },
};

export const builtIns: Faults = { ...globals, ...prototypes };
