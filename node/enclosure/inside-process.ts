// Entry of a process that holds one session. It has no life without its worker: when the pipes to it close, it ends.

import { flushCompileCache } from "node:module";
import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import "./slim.ts";
import { newProgressRecord } from "./messages.ts";
import { PipeStream } from "./pipe-stream.ts";
import { PACKETS_FD, WATCH_FD, processLimitsOf } from "./process-limits.ts";
import type { WatchStart } from "./process-watch.ts";

const exit = process.exit.bind(process);
// A terminal's Ctrl-C goes to the whole group; the worker decides what it means for its sessions.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

const progress = newProgressRecord();
const watch: WatchStart = { fd: WATCH_FD, progress, limits: processLimitsOf(process.argv) };
// First of all, so that also an application that never comes back from its first line dies with the worker.
new Worker(new URL("./process-watch.ts", import.meta.url), { workerData: watch, name: "watch" }).unref();

const pipe = new Socket({ fd: PACKETS_FD, readable: true, writable: true });
// Not before the hooks of slim.ts are in place.
const { runInside } = await import("./inside.ts");
const { guardSignals } = await import("./signal-guard.ts");
flushCompileCache();
runInside({
  connect: (events) => new PipeStream(pipe, { ...events, closed: () => exit(0) }),
  progress,
  writeLog: (line) => process.stderr.write(line),
  guard: guardSignals,
  exit,
});
