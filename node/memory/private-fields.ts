// What JavaScript hides even from the process itself: the `#private` fields of objects. Node's own inspector shows them, and a function
// that it calls gets them as they are. Asks only about classes whose text has such fields. Never enables the debugger.

import { Session } from "node:inspector";
import type { Runtime } from "node:inspector";
import { types } from "node:util";

const KEY = "sessionmesh.memory";

/** Where the inspector finds the object that we ask about, and leaves what it has found. */
interface Tray {
  asked: object | undefined;
  found: readonly unknown[];
}

export class PrivateFields {
  readonly #session = new Session();
  readonly #tray: Tray = { asked: undefined, found: [] };
  readonly #trayId: string;
  /** By prototype. */
  readonly #hasAny = new WeakMap<object, boolean>();

  /** MUST be made before globals are frozen: it needs one for a moment. */
  constructor() {
    this.#session.connect();
    Object.defineProperty(globalThis, Symbol.for(KEY), { value: this.#tray, configurable: true });
    const { objectId } = this.#evaluate(`globalThis[Symbol.for(${JSON.stringify(KEY)})]`);
    Reflect.deleteProperty(globalThis, Symbol.for(KEY));
    if (objectId === undefined) throw new Error("the inspector does not find our object");
    this.#trayId = objectId;
  }

  /** The class of the object, or one that it extends, has private fields. */
  has(object: object): boolean {
    const prototype: unknown = Reflect.getPrototypeOf(object);
    if (typeof prototype !== "object" || prototype === null || prototype === Object.prototype) return false;
    if (types.isProxy(prototype)) return false;
    let has = this.#hasAny.get(prototype);
    if (has === undefined) {
      has = declaresAny(prototype) || this.has(prototype);
      this.#hasAny.set(prototype, has);
    }
    return has;
  }

  /** Their values. Costs some 50 us. */
  valuesOf(object: object): readonly unknown[] {
    this.#tray.asked = object;
    const asked = this.#call("function() { return this.asked; }", []);
    const values = asked.objectId === undefined ? [] : this.#privateFieldsOf(asked.objectId);
    this.#call("function(...values) { this.found = values; }", values);
    const { found } = this.#tray;
    this.#tray.asked = undefined;
    this.#tray.found = [];
    this.#session.post("Runtime.releaseObjectGroup", { objectGroup: KEY });
    return found;
  }

  /** Everything that nothing refers to is freed. Stops the process for some 300 ms a GB. */
  collectGarbage(): void {
    this.#session.post("HeapProfiler.collectGarbage");
  }

  close(): void {
    this.#session.disconnect();
  }

  // The inspector of a thread's own session answers before `post` returns.

  #evaluate(expression: string): Runtime.RemoteObject {
    let result: Runtime.RemoteObject = NOTHING;
    this.#session.post("Runtime.evaluate", { expression }, (error, answer) => {
      if (error === null) ({ result } = answer);
    });
    return result;
  }

  #call(functionDeclaration: string, parameters: Runtime.CallArgument[]): Runtime.RemoteObject {
    let result: Runtime.RemoteObject = NOTHING;
    const call: Runtime.CallFunctionOnParameterType = {
      objectId: this.#trayId,
      functionDeclaration,
      arguments: parameters,
      objectGroup: KEY,
    };
    this.#session.post("Runtime.callFunctionOn", call, (error, answer) => {
      if (error === null) ({ result } = answer);
    });
    return result;
  }

  /** As arguments for `#call`. Numbers and the like have no size of their own. */
  #privateFieldsOf(objectId: string): Runtime.CallArgument[] {
    let fields: unknown;
    this.#session.post("Runtime.getProperties", { objectId, ownProperties: true }, (error, answer) => {
      // Not in the types: it is the newest part of the protocol.
      if (error === null) fields = Reflect.get(answer, "privateProperties");
    });
    if (!Array.isArray(fields)) return [];
    return fields.flatMap((field: unknown): Runtime.CallArgument[] => {
      const value = memberOf(field, "value");
      const id = memberOf(value, "objectId");
      if (typeof id === "string") return [{ objectId: id }];
      const text = memberOf(value, "value");
      return typeof text === "string" ? [{ value: text }] : [];
    });
  }
}

const NOTHING: Runtime.RemoteObject = { type: "undefined" };

function memberOf(object: unknown, name: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined;
}

function declaresAny(prototype: object): boolean {
  const made: unknown = Reflect.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  // Text that only looks like it costs a question to the inspector, nothing else.
  return typeof made === "function" && Function.prototype.toString.call(made).includes("#");
}
