// The application's own code at a gateway: its `fetch`, `authorize` and the static hooks of classes. It runs outside of any session, on
// behalf of one client. What goes wrong in it behind an await must not end the worker, so it is known by its asynchronous context.

import { AsyncLocalStorage } from "node:async_hooks";

interface Visitor {
  /** "" when it is not known. */
  readonly ip: string;
}

const visiting = new AsyncLocalStorage<Visitor | undefined>();

/** Runs application code on behalf of the client with this address. */
export function visit<Result>(ip: string, fn: () => Result): Result {
  return visiting.run({ ip }, fn);
}

/** Runs our own code that application code has called: a fault in it is ours. */
export function afterVisit<Result>(fn: () => Result): Result {
  return visiting.getStore() === undefined ? fn() : visiting.run(undefined, fn);
}

/** The client on whose behalf application code runs now; undefined in sessions and in our own code. */
export function visitor(): Visitor | undefined {
  return visiting.getStore();
}
