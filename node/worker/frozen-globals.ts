// What all sessions of a worker share without having asked for it: the built-in objects of JavaScript and the classes of the web. Once
// the application is loaded nobody may change them any more, or one session could break all others. Knows nothing of sessions.
//
// A frozen property must not be in the way of objects that inherit it (`error.name = "Mine"`), which is what `Object.freeze` alone
// would do. What code sets on its own objects in practice stays settable there, see INHERITED and ALWAYS_OPEN.

import { syncBuiltinESMExports } from "node:module";

/** Names of `globalThis` that are there before the application is loaded. What it adds itself stays its own. */
export type GlobalNames = readonly PropertyKey[];

/** Objects whose functions, and the classes among them, are frozen like globals. */
const NAMESPACES = new Set(["Atomics", "Intl", "JSON", "Math", "Reflect", "Temporal", "WebAssembly"]);

/**
 * Not frozen, since V8 has a fast path for prototypes that were never touched: `replace` and `split` with a regular expression would take
 * 0.9 us longer, ten times what they take.
 */
const LEFT_ALONE: ReadonlySet<object> = new Set([RegExp.prototype]);

/** Set on single objects often enough; become accessors, which costs those who read them a call. */
const INHERITED: ReadonlySet<PropertyKey> = new Set([
  "toString",
  "toLocaleString",
  "valueOf",
  "toJSON",
  "catch",
  "finally",
]);

/** All that inherits from these can be set on single objects: any object is assigned anything, and errors are given names and messages. */
const OFTEN_INHERITED: ReadonlySet<unknown> = new Set([
  Object.prototype,
  Function.prototype,
  ...[Error, AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map(prototypeOf),
]);

/**
 * Of those, and of `Error`, these stay writable. `constructor`: classes made by functions set it on their prototypes, and `util.inspect`
 * reads it as plain data. `stackTraceLimit`: libraries set it for a moment, and V8 reads it as plain data as well.
 */
const OPEN: ReadonlySet<PropertyKey> = new Set(["constructor", "stackTraceLimit"]);

/** V8 has fast paths for arrays until somebody sets one of these, to whatever it be: spread and destructuring would take ten times as long. */
const WATCHED: ReadonlySet<PropertyKey> = new Set(["constructor", Symbol.iterator]);

/** To be called before the application is loaded. */
export function globalNames(): GlobalNames {
  return Reflect.ownKeys(globalThis);
}

/**
 * Freezes the built-in objects as they are now, and makes the given globals constants. In strict code an assignment to them throws a
 * TypeError from then on, in sloppy code it does nothing. Cannot be undone.
 */
export function freezeGlobals(names: GlobalNames): void {
  for (const object of builtIns(names)) freeze(object);
  for (const name of names) pin(globalThis, name);
  // Its methods only: it keeps its indentation in properties of its own.
  for (const name of Object.keys(console)) pin(console, name);
  syncBuiltinESMExports();
}

function builtIns(names: GlobalNames): Set<object> {
  const found = new Set<object>();
  const add = (value: unknown): void => {
    if (!isObject(value) || LEFT_ALONE.has(value)) return;
    found.add(value);
    const prototype = prototypeOf(value);
    if (isObject(prototype) && !LEFT_ALONE.has(prototype)) found.add(prototype);
  };
  for (const name of names) {
    const value: unknown = Object.getOwnPropertyDescriptor(globalThis, name)?.value;
    if (typeof value === "function") add(value);
    if (typeof name !== "string" || !NAMESPACES.has(name) || !isObject(value)) continue;
    add(value);
    for (const { value: member } of Object.values(Object.getOwnPropertyDescriptors(value))) {
      if (typeof member === "function" || isObject(member)) add(member);
    }
  }
  // `globalThis.Buffer` is an accessor.
  add(Buffer);
  for (const hidden of unnamed()) add(hidden);
  return found;
}

/** Prototypes that no global leads to, by what inherits from them. */
function unnamed(): object[] {
  const functions = [function* () {}, async function* () {}, async () => {}].map((fn) => Object.getPrototypeOf(fn));
  const iterators = [
    [].values(),
    new Map().values(),
    new Set().values(),
    ""[Symbol.iterator](),
    "".matchAll(/x/g),
    [].values().map(String),
    Iterator.from({ next: () => ({ done: true, value: undefined }) }),
  ].map((iterator) => Object.getPrototypeOf(iterator));
  const asyncIterator: unknown = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}.prototype));
  const typedArray: unknown = Object.getPrototypeOf(Uint8Array);
  const generators = functions.map((fn): unknown => Object.getOwnPropertyDescriptor(fn, "prototype")?.value);
  return [
    ...functions.map((fn) => fn.constructor),
    ...functions,
    ...generators,
    ...iterators,
    asyncIterator,
    Object.getPrototypeOf(asyncIterator),
    typedArray,
  ].filter((value) => isObject(value) && value !== Object.prototype);
}

function freeze(object: object): void {
  const often = OFTEN_INHERITED.has(object);
  for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(object))) {
    if (property.configurable === true && "value" in property && !OPEN.has(name)) {
      if (often || (INHERITED.has(name) && isPrototype(object))) letInherit(object, name, property);
    }
  }
  // In one go where possible: V8 gives up its fast paths for arrays and promises when their properties are redefined one by one.
  if (object === Array.prototype) closeArrays(object);
  else if (often || object === Error) closeOneByOne(object);
  else Object.freeze(object);
  // V8 takes what was edited for a dictionary, which it reads slowly, until something inherits from it.
  Object.create(object);
}

/**
 * V8 takes a frozen prototype for one that may have read-only elements, and looks for them whenever an array grows by `array[at] = value`:
 * 50 ns instead of 2. A sealed one cannot have any more elements, and that it sees.
 */
function closeArrays(prototype: object): void {
  Object.seal(prototype);
  for (const name of Reflect.ownKeys(prototype)) {
    const property = Object.getOwnPropertyDescriptor(prototype, name);
    if (property?.writable !== true || WATCHED.has(name) || name === "length") continue;
    Object.defineProperty(prototype, name, { writable: false });
  }
}

function closeOneByOne(object: object): void {
  for (const name of Reflect.ownKeys(object)) {
    const property = Object.getOwnPropertyDescriptor(object, name);
    if (property === undefined) continue;
    Object.defineProperty(object, name, OPEN.has(name) ? { configurable: false } : closed(property));
  }
  Object.preventExtensions(object);
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

function prototypeOf(value: unknown): unknown {
  return typeof value === "function" ? Object.getOwnPropertyDescriptor(value, "prototype")?.value : undefined;
}

function isPrototype(object: object): boolean {
  return Object.hasOwn(object, "constructor");
}

function isObject(value: unknown): value is object {
  return typeof value === "function" || (typeof value === "object" && value !== null);
}
