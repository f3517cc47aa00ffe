// Listeners on `process` that sessions add and take away. A plain one is kept (a logger that flushes at "exit"), but runs as the session
// that added it: its errors are that session's. What leads errors and messages to the mesh itself is out of reach.

import { AsyncLocalStorage } from "node:async_hooks";
import { outside } from "../session/current.ts";
import { replaceFunction, type Callable } from "./replaced-function.ts";
import type { GuardedSession, Warden } from "./warden.ts";

/** What escapes from a session ends it, whoever would like to listen. Libraries add such listeners in good faith. */
const FAULTS: ReadonlySet<unknown> = new Set(["uncaughtException", "unhandledRejection"]);
/** The listeners for these are the mesh's and Node's, apart from those that sessions added. */
const OURS: ReadonlySet<unknown> = new Set([
  ...FAULTS,
  "message",
  "internalMessage",
  "disconnect",
  "newListener",
  "removeListener",
]);
/** Whoever says these to a process decides over all of it. */
const ORDERS = /^(message|internalMessage|disconnect|exit|beforeExit|SIG[A-Z0-9]+)$/;

/** Replaces what an EventEmitter does with listeners on `target`, which is `process` or takes its place. */
export function guardListeners(target: NodeJS.EventEmitter, warden: Warden): void {
  /** Wrappers of listeners that sessions added. */
  const foreign = new WeakSet<object>();
  /** Those of Node and of the mesh that are there already. */
  const early = new WeakSet<object>(target.eventNames().flatMap((event) => target.rawListeners(event)));
  const { removeListener } = target;

  const isOurs = (event: unknown, listener: unknown): boolean => {
    if (typeof event !== "string" && typeof event !== "symbol") return false;
    return target.rawListeners(event).some((raw) => {
      const same = raw === listener || ("listener" in raw && raw.listener === listener);
      return same && (early.has(raw) || (OURS.has(event) && !foreign.has(raw)));
    });
  };

  const add = (name: string, nativeName: "on" | "prependListener", once: boolean): void => {
    const native = target[nativeName];
    replaceFunction(target, name, (original) => {
      return function (event, listener, ...more) {
        const session = warden.running();
        if (session === undefined || typeof listener !== "function") {
          return Reflect.apply(original, target, [event, listener, ...more]);
        }
        if (FAULTS.has(event)) {
          warden.tell(
            session,
            `process.${name}("${String(event)}") of a session listens to nothing: its faults end it`,
          );
          return target;
        }
        const wrapper = contained(warden, session, target, listener, once ? drop : undefined);
        foreign.add(wrapper);
        // As nobody's: a signal's handle remembers in whose name it was made.
        outside(() => Reflect.apply(native, target, [event, wrapper]));
        return target;

        function drop(): void {
          Reflect.apply(removeListener, target, [event, wrapper]);
        }
      };
    });
  };
  // The functions that are wrapped call one another by name, so those they rely on are taken before.
  for (const [name, native, once] of [
    ["once", "on", true],
    ["prependOnceListener", "prependListener", true],
    ["prependListener", "prependListener", false],
    ["addListener", "on", false],
    ["on", "on", false],
  ] as const) {
    add(name, native, once);
  }

  for (const name of ["off", "removeListener"]) {
    replaceFunction(target, name, (native) => {
      return function (event, listener) {
        const session = warden.running();
        if (session !== undefined && isOurs(event, listener)) {
          warden.end(session, `process.${name}("${String(event)}")`, "that listener is the worker's own");
        }
        return Reflect.apply(native, target, [event, listener]);
      };
    });
  }
  replaceFunction(target, "removeAllListeners", (native) => {
    return function (...parameters) {
      const session = warden.running();
      if (session !== undefined) {
        warden.end(session, "process.removeAllListeners()", "remove the listeners that you added, one by one");
      }
      return Reflect.apply(native, target, parameters);
    };
  });
  replaceFunction(target, "emit", (native) => {
    return function (event, ...parameters) {
      const session = warden.running();
      if (session !== undefined && typeof event === "string" && ORDERS.test(event)) {
        warden.end(session, `process.emit("${event}")`, "nobody but Node and the primary may say that");
      }
      return Reflect.apply(native, target, [event, ...parameters]);
    };
  });
}

/** `listener` as its session's. Found by `off` and `listeners` as EventEmitter finds those of `once`. */
function contained(
  warden: Warden,
  session: GuardedSession,
  target: object,
  listener: object,
  before: (() => void) | undefined,
): Callable {
  const enter = AsyncLocalStorage.snapshot();
  const wrapper = (...parameters: unknown[]): void => {
    before?.();
    try {
      enter(() => {
        if (typeof listener === "function") Reflect.apply(listener, target, parameters);
      });
    } catch (error) {
      warden.blame(session, error);
    }
  };
  return Object.assign(wrapper, { listener });
}
