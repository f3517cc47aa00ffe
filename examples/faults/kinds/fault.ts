// What a fault is, and what several of them need.

export interface Fault {
  /** One line for a person. */
  readonly what: string;
  /** A `Response` is the answer, anything else that comes back is told as survived. */
  readonly run: () => unknown;
}

export type Faults = Readonly<Record<string, Fault>>;

/** Hogs the event loop for good. */
export function spin(): never {
  for (;;);
}

/** So that the request is still open when the fault strikes. */
export function never(): Promise<never> {
  return new Promise(() => {});
}

export function thrower(): never {
  throw new Error("told to");
}

/** A function of `process` that its types do not tell of. */
export function callProcess(name: string, ...parameters: unknown[]): unknown {
  const fn: unknown = Reflect.get(process, name);
  if (typeof fn !== "function") throw new Error(`process has no ${name}`);
  return Reflect.apply(fn, process, parameters);
}
