// Entry of a thread that holds one session.

import { writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { workerData } from "node:worker_threads";
import "./slim.ts";
import { PortStream } from "./port-stream.ts";
import type { ThreadStart } from "./thread.ts";

const exit = process.exit.bind(process);
// Written by our own worker, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const { port, progress } = workerData as ThreadStart;

// Not before the hooks of slim.ts are in place.
const { runInside } = await import("./inside.ts");
const { guardThread } = await import("./thread-guard.ts");
flushCompileCache();
runInside({
  connect: (events) => new PortStream(port, events),
  progress,
  // At once: what a thread hands to the main one for writing is lost with it.
  writeLog: (line) => {
    try {
      writeSync(process.stderr.fd, line);
    } catch {
      process.stderr.write(line);
    }
  },
  guard: guardThread,
  exit,
});
