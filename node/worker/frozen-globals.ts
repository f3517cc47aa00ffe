// Once the application is loaded nobody may change any more what all sessions of a worker share (built-ins.ts), or one session could
// break all others. Knows nothing of sessions.
//
// A closed property must not be in the way of objects that inherit it: `map.get = ...` on a map of one's own has to work, and Node's own
// streams do the like. So properties become accessors that refuse an assignment to the built-in object itself and let all others
// through. Optimized code reads them as fast as before, but for the few that V8 has an eye on: see IN_ONE_GO, OPEN and ITERATED.

import { syncBuiltinESMExports } from "node:module";
import { builtIns, isObject, prototypeOf, type GlobalNames } from "./built-ins.ts";

/**
 * Frozen as they are, since V8 gives up fast paths when their properties are redefined one by one: for the methods of strings and numbers
 * (six times as slow), and for spread and destructuring. They are inherited by primitives and iterators, on which nobody sets anything.
 */
const IN_ONE_GO: ReadonlySet<unknown> = new Set([
  ...[String, Number, Boolean, Symbol, BigInt].map(prototypeOf),
  ...[[].values(), new Map().values(), new Set().values(), ""[Symbol.iterator]()].map((it) =>
    Object.getPrototypeOf(it),
  ),
]);

/**
 * These stay writable wherever they are. `constructor`: classes made by functions set it on their prototypes, and `util.inspect` reads it
 * as plain data. `stackTraceLimit`: libraries set it for a moment, and V8 reads it as plain data as well.
 */
const OPEN: ReadonlySet<PropertyKey> = new Set(["constructor", "stackTraceLimit"]);

/** `[Symbol.iterator]` of these stays writable: redefined, to whatever it be, it makes the spread of arrays, maps and sets slow. */
const ITERATED: ReadonlySet<unknown> = new Set([Array, Map, Set, Iterator].map(prototypeOf));

/**
 * Closes the built-in objects as they are now, and makes the given globals constants. In strict code an assignment to them throws a
 * TypeError from then on, in sloppy code it does nothing, but for accessors, which throw. Cannot be undone.
 */
export function freezeGlobals(names: GlobalNames): void {
  for (const object of builtIns(names)) {
    if (IN_ONE_GO.has(object)) Object.freeze(object);
    else close(object);
  }
  for (const name of names) pin(globalThis, name);
  // Its methods only: it keeps its indentation in properties of its own.
  for (const name of Object.keys(console)) {
    const method = Object.getOwnPropertyDescriptor(console, name);
    if (method !== undefined) letInherit(console, name, method);
  }
  syncBuiltinESMExports();
}

function close(object: object): void {
  for (const name of Reflect.ownKeys(object)) {
    const property = Object.getOwnPropertyDescriptor(object, name);
    if (property?.configurable !== true || property.writable !== true || OPEN.has(name)) continue;
    if (name !== Symbol.iterator || !ITERATED.has(object)) letInherit(object, name, property);
  }
  // Sealed, not frozen: V8 takes a frozen prototype for one that may have read-only elements, and looks for them whenever an array
  // grows by `array[at] = value`: 50 ns instead of 2.
  Object.seal(object);
  // V8 takes what was edited for a dictionary, which it reads slowly, until something inherits from it.
  Object.create(object);
}

/** Reads as before; can be set on everything that inherits it, and nowhere else. */
function letInherit(object: object, name: PropertyKey, { value, enumerable = false }: PropertyDescriptor): void {
  Object.defineProperty(object, name, {
    get: () => value,
    set(this: unknown, own: unknown) {
      if (this === object || !isObject(this)) {
        throw new TypeError(`Cannot assign to read only property '${String(name)}' of a built-in object`);
      }
      // As an assignment would have done.
      const inherited = { value: own, writable: true, enumerable: true, configurable: true };
      Object.defineProperty(this, name, Object.hasOwn(this, name) ? { value: own } : inherited);
    },
    enumerable,
    configurable: false,
  });
}

/** No accessor of a global does more with an assignment than to let it through. */
function pin(object: object, name: PropertyKey): void {
  const property = Object.getOwnPropertyDescriptor(object, name);
  if (property?.configurable !== true) return;
  if ("set" in property) Reflect.set(property, "set", undefined);
  Object.defineProperty(object, name, closed(property));
}

function closed(property: PropertyDescriptor): PropertyDescriptor {
  return "value" in property
    ? { ...property, writable: false, configurable: false }
    : { ...property, configurable: false };
}
