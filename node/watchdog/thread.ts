// Entry of the watchdog thread of a worker.

import { parentPort, workerData } from "node:worker_threads";
import { MainThread } from "./inspector.ts";
import { tellLetGo, type FromThread, type ThreadStart, type ToThread } from "./record.ts";
import { LOOK_MS, Watch } from "./watch.ts";

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
parentPort?.once("message", (_message: ToThread) => {
  main.detach();
  tellLetGo(record);
  process.exit(0);
});
let looking = false;
const look = (): void => {
  // May wait for the main thread.
  if (looking) return;
  looking = true;
  void watch.look().then((leftMs) => {
    looking = false;
    if (leftMs < LOOK_MS) setTimeout(look, leftMs);
  });
};
// Costs a third less than a new timer for each look, all the time; sooner looks are rare.
setInterval(look, LOOK_MS);
