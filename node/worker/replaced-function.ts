// Puts a function in the place of another one on an object that all share, and keeps it there. Never looks at who calls.

export type Callable = (this: unknown, ...parameters: unknown[]) => unknown;

export function isCallable(value: unknown): value is Callable {
  return typeof value === "function";
}

/** Replaces `holder[name]`, own or inherited, by what `wrap` makes of it. Nothing happens when there is no such function. */
export function replaceFunction(holder: object, name: string, wrap: (native: Callable) => Callable): void {
  const native: unknown = Reflect.get(holder, name);
  if (!isCallable(native)) return;
  const value = wrap(native);
  Object.defineProperty(value, "name", { value: name });
  Object.defineProperty(value, "length", { value: native.length });
  const enumerable = Object.getOwnPropertyDescriptor(holder, name)?.enumerable ?? false;
  Object.defineProperty(holder, name, { value, writable: true, configurable: true, enumerable });
}

/** From now on an assignment changes the function only where `allowed` says so, and nothing can delete or redefine it. */
export function guardAssignment(holder: object, name: string, allowed: () => boolean): void {
  const property = Object.getOwnPropertyDescriptor(holder, name);
  if (property?.configurable !== true || !("value" in property)) return;
  let value: unknown = property.value;
  Object.defineProperty(holder, name, {
    get: () => value,
    set(next: unknown) {
      if (allowed()) value = next;
    },
    enumerable: property.enumerable ?? false,
    configurable: false,
  });
}
