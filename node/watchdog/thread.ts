// Entry of the watchdog thread of a worker.

import { parentPort, workerData } from "node:worker_threads";
import { MainThread } from "./inspector.ts";
import type { FromThread, ThreadStart } from "./record.ts";
import { Watch } from "./watch.ts";

/** Between two looks at the turn count. Too large: sessions are ended late; too small: the thread takes CPU from the main one. */
const LOOK_MS = 20;

// Written by our own main thread, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const { record, guard } = workerData as ThreadStart;
// A port of threads, which has no origins.
// oxlint-disable-next-line unicorn/require-post-message-target-origin
const tell = (message: FromThread): void => parentPort?.postMessage(message);

// The wait for the inspector alone would not keep the thread alive.
const alive = setInterval(() => {}, LOOK_MS);
const main = new MainThread();
await main.attach(guard);
tell({ type: "ready" });
clearInterval(alive);
const watch = new Watch(record, main, tell);
for (;;) {
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  const busy = setInterval(() => {}, LOOK_MS);
  await watch.look();
  clearInterval(busy);
}
