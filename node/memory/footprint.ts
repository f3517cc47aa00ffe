// How much memory the objects of one session keep alive: an estimate from a walk over what its server refers to. Large containers are
// sampled, so that the cost does not grow with the size. Never runs session code: accessors and proxies are left alone. What it
// cannot see: variables of suspended functions, weak collections, and memory outside of JavaScript.

import { types } from "node:util";

/** Members looked at of one container, at the top; deeper ones get a quarter each level down. */
const SAMPLE_MAX = 200;
const SAMPLE_MIN = 8;
const SAMPLE_SHRINK = 4;
/** Objects looked at in one walk. Too small: trees and linked lists look small. Too large: the books of the walk weigh as much. */
const OBJECTS_MAX = 300_000;
/** Objects and functions in one walk whose hidden parts are asked for; each costs 50 to 400 us. */
const HIDDEN_LOOKS_MAX = 500;
/** Objects between two chances to pause; a look at hidden parts counts as many. */
const STRIDE = 250;
const STRIDE_OF_HIDDEN = 50;

/** Bytes, by what V8 needs on 64 bits. */
const SLOT = 8;
const HEADER = 24;
const MAP_ENTRY = 40;
const SET_ENTRY = 24;
const BOXED = 64;

export interface WalkOptions {
  /** The values where the walk begins. */
  readonly roots: readonly unknown[];
  /** Objects that are not the session's: the walk ends there. */
  readonly foreign: (object: object) => boolean;
  readonly privateFields: {
    has(object: object): boolean;
    valuesOf(object: object): readonly unknown[];
    variablesOf(code: object): readonly unknown[];
  };
}

export interface Footprint {
  readonly bytes: number;
  /** What was looked at. */
  readonly seen: ReadonlySet<object>;
}

interface Visit {
  readonly value: unknown;
  /** How many members of its containers it stands for. */
  readonly weight: number;
  readonly depth: number;
}

/** Pauses now and then, where the caller may leave it for a while. */
export function* footprintOf(options: WalkOptions): Generator<void, Footprint> {
  const walk = new Walk(options);
  let done = 0;
  while (walk.step()) {
    done += 1 + walk.hiddenLooks * STRIDE_OF_HIDDEN;
    walk.hiddenLooks = 0;
    if (done < STRIDE) continue;
    done = 0;
    yield;
  }
  return { bytes: Math.round(walk.bytes), seen: walk.seen };
}

class Walk {
  bytes = 0;
  readonly seen = new Set<object>();
  readonly #options: WalkOptions;
  readonly #stack: Visit[];
  /** Since somebody set it to 0. */
  hiddenLooks = 0;
  #hiddenLooksLeft = HIDDEN_LOOKS_MAX;

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#stack = options.roots.map((value) => ({ value, weight: 1, depth: 0 }));
  }

  /** False: that was all, or all that one walk may look at. */
  step(): boolean {
    const visit = this.#stack.pop();
    if (visit === undefined || this.seen.size >= OBJECTS_MAX) return false;
    const { value } = visit;
    if (typeof value === "string") this.bytes += visit.weight * (HEADER + value.length);
    else if (typeof value === "object" && value !== null) this.#visit(value, visit);
    else if (typeof value === "function") this.#visitCode(value, visit);
    return true;
  }

  #visitCode(code: object, { weight, depth }: Visit): void {
    if (this.seen.has(code) || types.isProxy(code) || !this.#mayLook()) return;
    this.seen.add(code);
    this.bytes += weight * BOXED;
    this.#push(this.#options.privateFields.variablesOf(code), weight, depth);
  }

  #mayLook(): boolean {
    if (this.#hiddenLooksLeft === 0) return false;
    this.#hiddenLooksLeft--;
    this.hiddenLooks++;
    return true;
  }

  #visit(object: object, { weight, depth }: Visit): void {
    if (this.seen.has(object) || types.isProxy(object) || this.#options.foreign(object)) return;
    this.seen.add(object);
    if (ArrayBuffer.isView(object)) {
      // Counted once, however many views there are of it.
      this.#stack.push({ value: object.buffer, weight, depth });
      return;
    }
    if (types.isArrayBuffer(object)) {
      this.bytes += weight * (BOXED + object.byteLength);
      return;
    }
    if (types.isSharedArrayBuffer(object) || isOpaque(object)) return;
    if (types.isMap(object)) this.#members(mapMembers(object), mapSize(object), MAP_ENTRY, 2, weight, depth);
    else if (types.isSet(object)) this.#members(setMembers(object), setSize(object), SET_ENTRY, 1, weight, depth);
    if (Array.isArray(object)) this.#elements(object, weight, depth);
    else this.#properties(object, weight, depth);
  }

  /** The oldest ones, which stand for all. */
  #members(
    members: Iterator<unknown>,
    size: number,
    entryBytes: number,
    valuesEach: number,
    weight: number,
    depth: number,
  ): void {
    this.bytes += weight * size * entryBytes;
    const count = Math.min(size, sampleAt(depth));
    const values: unknown[] = [];
    for (let left = count * valuesEach; left > 0; left--) {
      const next = members.next();
      if (next.done === true) break;
      values.push(next.value);
    }
    this.#push(values, (weight * size) / count, depth);
  }

  /** Evenly spread ones, which stand for all. */
  #elements(array: readonly unknown[], weight: number, depth: number): void {
    const { length } = array;
    this.bytes += weight * (HEADER + length * SLOT);
    const count = Math.min(length, sampleAt(depth));
    const values = Array.from({ length: count }, (_, at) => valueOf(array, Math.floor((at * length) / count)));
    this.#push(values, (weight * length) / count, depth);
  }

  #properties(object: object, weight: number, depth: number): void {
    const keys = Reflect.ownKeys(object);
    const { length } = keys;
    this.bytes += weight * (HEADER + length * SLOT);
    const count = Math.min(length, sampleAt(depth));
    const dictionary = count < length;
    const values: unknown[] = [];
    for (let at = 0; at < count; at++) {
      const key = keys[Math.floor((at * length) / count)] ?? "";
      // The names of an ordinary object's properties are those of all objects of its shape.
      if (dictionary) values.push(key);
      values.push(valueOf(object, key));
    }
    this.#push(values, (weight * length) / count, depth);
    const { privateFields } = this.#options;
    if (!privateFields.has(object) || !this.#mayLook()) return;
    this.#push(privateFields.valuesOf(object), weight, depth);
  }

  #push(values: readonly unknown[], weight: number, depth: number): void {
    /** A text that is there many times is mostly the very same one: the last of each length is enough to know. */
    const texts = new Map<number, string>();
    for (const value of values) {
      if (typeof value === "string") {
        if (texts.get(value.length) === value) continue;
        texts.set(value.length, value);
      } else if ((typeof value !== "object" || value === null) && typeof value !== "function") continue;
      this.#stack.push({ value, weight, depth: depth + 1 });
    }
  }
}

function sampleAt(depth: number): number {
  return Math.max(SAMPLE_MIN, Math.floor(SAMPLE_MAX / SAMPLE_SHRINK ** Math.max(0, depth - 1)));
}

/** Undefined for an accessor. */
function valueOf(object: object, key: PropertyKey): unknown {
  return Reflect.getOwnPropertyDescriptor(object, key)?.value;
}

/** Nothing in it can be seen, or it keeps nothing alive. */
function isOpaque(object: object): boolean {
  return (
    types.isPromise(object) ||
    types.isWeakMap(object) ||
    types.isWeakSet(object) ||
    types.isGeneratorObject(object) ||
    types.isModuleNamespaceObject(object) ||
    types.isExternal(object) ||
    object instanceof WeakRef
  );
}

// By the functions of the built-in classes: a subclass may have its own, which are session code.

function* mapMembers(map: ReadonlyMap<unknown, unknown>): Generator {
  for (const [key, value] of Map.prototype.entries.call(map)) {
    yield key;
    yield value;
  }
}

function setMembers(set: ReadonlySet<unknown>): Iterator<unknown> {
  return Set.prototype.values.call(set);
}

function sizeGetter(prototype: object): (this: object) => unknown {
  return Reflect.getOwnPropertyDescriptor(prototype, "size")?.get ?? (() => 0);
}
const sizeOfMap = sizeGetter(Map.prototype);
const sizeOfSet = sizeGetter(Set.prototype);

function mapSize(map: object): number {
  return Number(sizeOfMap.call(map));
}

function setSize(set: object): number {
  return Number(sizeOfSet.call(set));
}
