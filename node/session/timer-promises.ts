// The promise forms of session timers, with the shapes of `node:timers/promises`. Built on the callback forms, so that they end with
// the session: a delay that its session does not live to see never settles.

import type {
  setTimeout as setTimeoutType,
  setInterval as setIntervalType,
  setImmediate as setImmediateType,
} from "node:timers/promises";
import { current } from "./current.ts";

interface Options {
  readonly signal?: AbortSignal;
  readonly ref?: boolean;
}

interface Native {
  readonly setTimeout: typeof setTimeoutType;
  readonly setInterval: typeof setIntervalType;
  readonly setImmediate: typeof setImmediateType;
}

interface Handle {
  unref(): unknown;
  [Symbol.dispose](): void;
}

type Start = (callback: () => void, ms?: number) => Handle;

export function timerPromises(
  original: Native,
  timeout: Start,
  interval: Start,
  immediate: (callback: () => void) => Handle,
) {
  // Taken now: the module's own properties are about to be replaced.
  const native: Native = { ...original };

  /** Node's own form for what is no session's, and for what it will refuse. */
  const foreign = (options: unknown): boolean =>
    current.getStore() === undefined || !isOptions(options) || options?.signal?.aborted === true;

  const delay = <Value>(start: (callback: () => void) => Handle, value: Value, options: Options): Promise<Value> => {
    const { promise, resolve } = Promise.withResolvers<Value>();
    const { signal } = options;
    const handle = start(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve(value);
    });
    if (options.ref === false) handle.unref();
    const onAbort = (): void => {
      handle[Symbol.dispose]();
      // Node's own error for it.
      resolve(native.setTimeout(0, value, options));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    return promise;
  };

  const setTimeout = <Value>(ms?: number, value?: Value, options?: Options): Promise<Value | undefined> =>
    foreign(options)
      ? native.setTimeout(ms, value, options)
      : delay((callback) => timeout(callback, ms), value, options ?? {});

  const setImmediate = <Value>(value?: Value, options?: Options): Promise<Value | undefined> =>
    foreign(options) ? native.setImmediate(value, options) : delay(immediate, value, options ?? {});

  const setInterval = <Value>(ms?: number, value?: Value, options?: Options): AsyncIterable<Value | undefined> =>
    foreign(options)
      ? native.setInterval(ms, value, options)
      : ticks((callback) => interval(callback, ms), value, options ?? {});

  async function* ticks<Value>(
    start: (callback: () => void) => Handle,
    value: Value,
    options: Options,
  ): AsyncGenerator<Value> {
    const { signal } = options;
    let due = 0;
    let wake = (): void => {};
    const handle = start(() => {
      due++;
      wake();
    });
    if (options.ref === false) handle.unref();
    const onAbort = (): void => wake();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        if (signal?.aborted === true) await native.setTimeout(0, undefined, options);
        for (; due > 0; due--) yield value;
        if (signal?.aborted === true) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      handle[Symbol.dispose]();
    }
  }

  return {
    setTimeout,
    setInterval,
    setImmediate,
    scheduler: {
      wait: (ms?: number, options?: Options): Promise<void> => setTimeout<void>(ms, undefined, options),
      yield: (): Promise<void> => setImmediate<void>(),
    },
  };
}

function isOptions(options: unknown): options is Options | undefined {
  if (options === undefined) return true;
  if (typeof options !== "object" || options === null) return false;
  const signal = "signal" in options ? options.signal : undefined;
  return signal === undefined || signal instanceof AbortSignal;
}
