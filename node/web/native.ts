// Node's own classes as they were before `installWebClasses`, and bases for the light ones that stand in for them.

export const NativeRequest: typeof Request = globalThis.Request;
export const NativeResponse: typeof Response = globalThis.Response;
export const nativeFetch: typeof fetch = globalThis.fetch;

// A class over such a base has native instances' prototype without native construction: `instanceof` holds and no undici object
// is made. Every native member would throw on it for want of private state, so a subclass overrides them all (see `delegate`).
function baseOver<T>(native: { readonly prototype: T }): new () => T {
  function Base(): void {}
  Base.prototype = native.prototype;
  // A function with a prototype constructs; TypeScript knows that of classes only.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Base as unknown as new () => T;
}

export const RequestBase = baseOver(NativeRequest);
export const ResponseBase = baseOver(NativeResponse);

/** Gives `light` each native member that it does not define itself, answered by the native object behind the instance. */
export function delegate<T extends object>(light: T, native: T, realOf: (instance: T) => T): void {
  for (const key of Reflect.ownKeys(native)) {
    if (Object.hasOwn(light, key)) continue;
    const member = Object.getOwnPropertyDescriptor(native, key);
    if (member === undefined) continue;
    if (member.get !== undefined) {
      Object.defineProperty(light, key, {
        ...member,
        get(this: T): unknown {
          return Reflect.get(realOf(this), key);
        },
      });
    } else if (typeof member.value === "function") {
      const method: (...parameters: unknown[]) => unknown = member.value;
      Object.defineProperty(light, key, {
        ...member,
        value(this: T, ...parameters: unknown[]): unknown {
          return Reflect.apply(method, realOf(this), parameters);
        },
      });
    }
  }
}

/** The headers that a user holds are the light object's; a native one made before they changed must not lag behind. */
export function copyHeaders(from: Headers, to: Headers): void {
  if (from === to) return;
  // Collected first: an iterator over headers skips entries when one is deleted under it.
  const stale = [...to.keys()];
  for (const name of stale) to.delete(name);
  for (const [name, value] of from) to.append(name, value);
}
