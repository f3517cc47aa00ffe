// What JavaScript hides even from the process itself: the `#private` fields of objects, and the variables that functions hold on to.
// Node's own inspector shows them, and a function that it calls gets them as they are. Never enables the debugger.

import { Session } from "node:inspector";
import type { Runtime } from "node:inspector";
import { types } from "node:util";

const KEY = "sessionmesh.memory";

/** Where the inspector finds the object that we ask about, and leaves what it has found. */
interface Tray {
  asked: object | undefined;
  found: readonly unknown[];
}

/** Scopes of one call each, but for that in which the mesh makes its promise timers: whatever waits for one leads there. */
const OWN_SCOPE = /^(?:Closure(?! \(timerPromises\))|Block|Local|Catch|With Block)/;
/** What a module of Node or of CommonJS keeps its variables in: it is a function without a name to V8. */
const WRAPPER = "Closure";

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

  /** Their values. Costs 50 to 150 us. */
  valuesOf(object: object): readonly unknown[] {
    return this.#found(object, (id) => argumentsOf(this.#properties(id, "privateProperties")));
  }

  /** The variables around a function that it, or another one made in the same call, refers to. Costs some 400 us. */
  variablesOf(code: object): readonly unknown[] {
    if (isNative(code)) return NO_VALUES;
    return this.#found(code, (id) => {
      const scopes = this.#properties(id, "internalProperties")
        .filter((property) => memberOf(property, "name") === "[[Scopes]]")
        .flatMap((property) => this.#propertiesOf(memberOf(property, "value"), "result"))
        .map((property) => memberOf(property, "value"));
      return scopes
        .slice(0, ownScopes(scopes.map((scope) => String(memberOf(scope, "description")))))
        .flatMap((scope) => argumentsOf(this.#propertiesOf(scope, "result")));
    });
  }

  #found(object: object, ask: (id: string) => Runtime.CallArgument[]): readonly unknown[] {
    this.#tray.asked = object;
    const asked = this.#call("function() { return this.asked; }", []);
    const values = asked.objectId === undefined ? [] : ask(asked.objectId);
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

  #propertiesOf(object: unknown, which: string): readonly unknown[] {
    const id = memberOf(object, "objectId");
    return typeof id === "string" ? this.#properties(id, which) : [];
  }

  /** `which` of the lists in the answer; not all of them are in the types. */
  #properties(objectId: string, which: string): readonly unknown[] {
    let properties: unknown;
    this.#session.post("Runtime.getProperties", { objectId, ownProperties: true }, (error, answer) => {
      if (error === null) properties = Reflect.get(answer, which);
    });
    return Array.isArray(properties) ? properties : [];
  }
}

/** How many of them, the inmost first, are of one call each; what a module keeps belongs to all who know the code. */
function ownScopes(scopes: readonly string[]): number {
  const own = scopes.findIndex((scope) => !OWN_SCOPE.test(scope));
  return scopes[own]?.startsWith("Module") !== true && scopes[own - 1] === WRAPPER ? own - 1 : Math.max(0, own);
}

/** For `#call`. Numbers and the like have no size of their own. */
function argumentsOf(properties: readonly unknown[]): Runtime.CallArgument[] {
  return properties.flatMap((property): Runtime.CallArgument[] => {
    const value = memberOf(property, "value");
    const id = memberOf(value, "objectId");
    if (typeof id === "string") return [{ objectId: id }];
    const text = memberOf(value, "value");
    return typeof text === "string" ? [{ value: text }] : [];
  });
}

/** Such as those that settle a promise: they have no variables. */
function isNative(code: object): boolean {
  return Function.prototype.toString.call(code).endsWith("{ [native code] }");
}

const NO_VALUES: readonly unknown[] = [];
const NOTHING: Runtime.RemoteObject = { type: "undefined" };

function memberOf(object: unknown, name: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, name) : undefined;
}

function declaresAny(prototype: object): boolean {
  const made: unknown = Reflect.getOwnPropertyDescriptor(prototype, "constructor")?.value;
  // Text that only looks like it costs a question to the inspector, nothing else.
  return typeof made === "function" && Function.prototype.toString.call(made).includes("#");
}
