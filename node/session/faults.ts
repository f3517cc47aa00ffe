// The last net: errors that no try/catch saw (a throw in a microtask or an event emitter, a rejection that nobody awaits) are
// blamed on the session in whose context they happened. The application's code at the gateway has no state that could be lost, so its
// stray errors are only told. What belongs to neither is a fault of the worker itself.

import { current } from "./current.ts";
import { visitor } from "./visiting.ts";

/** `onVisitFault` hears of errors of application code at the gateway. Returns a function that takes the handlers away again. */
export function installFaultHandlers(
  onOwnFault: (error: unknown) => void,
  onVisitFault: (error: unknown) => void = onOwnFault,
): () => void {
  const onFault = (error: unknown): void => {
    const cell = current.getStore();
    if (cell !== undefined) cell.fault(error);
    else if (visitor() !== undefined) onVisitFault(error);
    else onOwnFault(error);
  };
  process.on("uncaughtException", onFault);
  process.on("unhandledRejection", onFault);
  return () => {
    process.off("uncaughtException", onFault);
    process.off("unhandledRejection", onFault);
  };
}
