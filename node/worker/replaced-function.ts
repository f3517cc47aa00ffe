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

interface Apart<Session> {
  /** Hears of each assignment by a session. */
  readonly told?: (session: Session) => void;
  /** False: an assignment by a session is forgotten. Default: it counts for that session. */
  readonly kept?: boolean;
}

/**
 * From now on nothing can delete or redefine the property, and an assignment by a session counts for no other: libraries that wrap such a
 * function when they are first used go on. `running`: whose code runs; undefined: nobody's, whose assignment is for all.
 */
export function assignApart<Session extends object>(
  holder: object,
  name: string,
  running: () => Session | undefined,
  { told, kept = true }: Apart<Session> = {},
): void {
  const property = Object.getOwnPropertyDescriptor(holder, name);
  if (property?.configurable !== true || !("value" in property)) return;
  let shared: unknown = property.value;
  const own = new WeakMap<object, unknown>();
  Object.defineProperty(holder, name, {
    get: () => {
      const session = running();
      return session !== undefined && own.has(session) ? own.get(session) : shared;
    },
    set: (value: unknown) => {
      const session = running();
      if (session === undefined) {
        shared = value;
        return;
      }
      if (kept) own.set(session, value);
      told?.(session);
    },
    enumerable: property.enumerable ?? false,
    configurable: false,
  });
}
