// Entry of the watchdog thread of a worker.

import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { MainThread } from "./inspector.ts";
import { tellLetGo, type FromThread, type ThreadStart, type ToThread } from "./record.ts";
import { Watch } from "./watch.ts";

/** Any pace will do: it only keeps the thread alive while it waits for the inspector, which does not. */
const ALIVE_MS = 1_000;

// Written by our own main thread, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const { record, guard } = workerData as ThreadStart;
// A port of threads, which has no origins.
// oxlint-disable-next-line unicorn/require-post-message-target-origin
const tell = (message: FromThread): void => parentPort?.postMessage(message);

setInterval(() => {}, ALIVE_MS);
const main = new MainThread();
await main.attach(guard);
tell({ type: "ready" });
const watch = new Watch(record, main, tell);
parentPort?.once("message", (_message: ToThread) => {
  main.detach();
  tellLetGo(record);
  process.exit(0);
});
for (;;) await sleep(await watch.look());
