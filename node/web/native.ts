// Node's own classes as they were before `installWebClasses`, and how light objects live among their instances: they have the very
// same prototype, whose members look whom they are called on. So `instanceof`, `constructor`, names and enumeration are Node's.

export const NativeRequest: typeof Request = globalThis.Request;
export const NativeResponse: typeof Response = globalThis.Response;
export const nativeFetch: typeof fetch = globalThis.fetch;

/** A base class that gives the private fields of its subclasses to the instance that it is called with. */
export function onto<T extends object>(): new (instance: T) => T {
  function Onto(instance: T): T {
    return instance;
  }
  // A function that is called with `new` and returns an object gives that; TypeScript knows that of classes only.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Onto as unknown as new (instance: T) => T;
}

/** Makes instances of a native class without native construction: nothing of undici's is made, and none of its private state is there. */
export function bareOver<T extends object>(native: { readonly prototype: T }): new () => T {
  function Bare(): void {}
  Bare.prototype = native.prototype;
  // A function with a prototype constructs; TypeScript knows that of classes only.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Bare as unknown as new () => T;
}

/** How light objects of one class are told from native ones, and answered. */
export interface Light<T extends object> {
  readonly isLight: (value: unknown) => value is T;
  /** Called on light objects only. What it lacks is answered by the native object behind the light one. */
  readonly members: object;
  readonly realOf: (light: T) => T;
}

/** From now on the native prototype answers for light objects as well. Native ones behave as before. */
export function admit<T extends object>(native: T, light: Light<T>): void {
  for (const key of Reflect.ownKeys(native)) {
    const member = Object.getOwnPropertyDescriptor(native, key);
    if (member?.get !== undefined) {
      Object.defineProperty(native, key, getter(key, member.get, light));
    } else if (typeof member?.value === "function" && key !== "constructor") {
      Object.defineProperty(native, key, { value: method(key, member.value, light) });
    }
  }
}

type Method = (this: unknown, ...parameters: unknown[]) => unknown;

// Made as members of an object, so that they have names such as "get url", no prototype, and cannot be constructed.

function getter<T extends object>(key: PropertyKey, native: () => unknown, light: Light<T>): PropertyDescriptor {
  const { isLight, members, realOf } = light;
  const own = Object.getOwnPropertyDescriptor(members, key)?.get;
  const holder = {
    get [key](): unknown {
      if (!isLight(this)) return Reflect.apply(native, this, []);
      return own === undefined ? Reflect.apply(native, realOf(this), []) : own.call(this);
    },
  };
  const made = Object.getOwnPropertyDescriptor(holder, key)?.get;
  return made === undefined ? {} : { get: made };
}

function method<T extends object>(key: PropertyKey, native: Method, light: Light<T>): unknown {
  const { isLight, members, realOf } = light;
  const own: Method | undefined = Object.getOwnPropertyDescriptor(members, key)?.value;
  const holder = {
    [key](...parameters: unknown[]): unknown {
      if (!isLight(this)) return Reflect.apply(native, this, parameters);
      return own === undefined ? Reflect.apply(native, realOf(this), parameters) : own.call(this);
    },
  };
  return Object.defineProperty(Reflect.get(holder, key), "length", { value: native.length });
}

/** The headers that a user holds are the light object's; a native one made before they changed must not lag behind. */
export function copyHeaders(from: Headers, to: Headers): void {
  if (from === to) return;
  // Collected first: an iterator over headers skips entries when one is deleted under it.
  const stale = [...to.keys()];
  for (const name of stale) to.delete(name);
  for (const [name, value] of from) to.append(name, value);
}
