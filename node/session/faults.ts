// The last net: errors that no try/catch saw (a throw in a microtask or an event emitter, a rejection that nobody awaits) are
// blamed on the session in whose context they happened. What belongs to no session is a fault of the worker itself.

import { current } from "./current.ts";

/** Returns a function that takes the handlers away again. */
export function installFaultHandlers(onOwnFault: (error: unknown) => void): () => void {
  const onFault = (error: unknown): void => {
    const cell = current.getStore();
    if (cell === undefined) onOwnFault(error);
    else cell.fault(error);
  };
  process.on("uncaughtException", onFault);
  process.on("unhandledRejection", onFault);
  return () => {
    process.off("uncaughtException", onFault);
    process.off("unhandledRejection", onFault);
  };
}
