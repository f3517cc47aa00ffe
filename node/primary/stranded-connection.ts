// A connection that node:cluster was handing to a worker when the worker died. Node waits for the worker's word that it took the
// connection, at one connection at a time, and does nothing when that never comes: the client stays connected to nobody and
// waits for ever. Here it is closed, so that the client sees a reset and connects again.
//
// Relies on the message of Node's own round-robin scheduler, `{ act: "newconn" }` with the connection as its handle. Were
// that ever to change, nothing would be closed: the test with real kills would tell.

import type { Worker } from "node:cluster";

interface Connection {
  close(): void;
}

/** For the whole life of the worker. */
export function closeStrandedConnection(worker: Worker): void {
  let last: Connection | undefined;
  worker.process.send = new Proxy(worker.process.send, {
    apply(send, self, args: unknown[]) {
      const [message, handle] = args;
      if (isHandover(message) && isConnection(handle)) last = handle;
      return Reflect.apply(send, self, args);
    },
  });
  // One that the worker took has been closed on this side; closing it again does nothing.
  worker.once("exit", () => last?.close());
}

function isHandover(message: unknown): boolean {
  return typeof message === "object" && message !== null && "act" in message && message.act === "newconn";
}

function isConnection(handle: unknown): handle is Connection {
  return typeof handle === "object" && handle !== null && "close" in handle && typeof handle.close === "function";
}
