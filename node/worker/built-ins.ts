// Which objects all sessions of a worker share without having asked for it: the built-in objects of JavaScript and the classes of the
// web. Only finds them; frozen-globals.ts closes them.

/** Names of `globalThis` that are there before the application is loaded. What it adds itself stays its own. */
export type GlobalNames = readonly PropertyKey[];

/** Objects whose functions, and the classes among them, belong to all like globals. */
const NAMESPACES = new Set(["Atomics", "Intl", "JSON", "Math", "Reflect", "Temporal", "WebAssembly"]);

/**
 * Not among them, since V8 has a fast path for prototypes that were never touched: `replace` and `split` with a regular expression would
 * take 0.9 us longer, ten times what they take.
 */
const LEFT_ALONE: ReadonlySet<object> = new Set([RegExp.prototype]);

/** To be called before the application is loaded. */
export function globalNames(): GlobalNames {
  return Reflect.ownKeys(globalThis);
}

/** The classes of the given globals, their prototypes, the namespaces, and what no global leads to. */
export function builtIns(names: GlobalNames): Set<object> {
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

/** What `fn.prototype` is, without calling anything. */
export function prototypeOf(value: unknown): unknown {
  return typeof value === "function" ? Object.getOwnPropertyDescriptor(value, "prototype")?.value : undefined;
}

export function isObject(value: unknown): value is object {
  return typeof value === "function" || (typeof value === "object" && value !== null);
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
