// Entry of a worker process. What must be in place before application code is loaded is put in place here, in this order.

import "../own-name.ts";
import { MeshError } from "#proto";
import { WORKER_BOOT_ENV, type FromWorker, type ToWorker, type WorkerBoot } from "../ipc.ts";
import { createLog } from "../log.ts";
import { current, outside } from "../session/current.ts";
import { installStoppableJson } from "../session/json.ts";
import { installSessionTimers } from "../session/timers.ts";
import { installWebClasses } from "../web/web.ts";
import { globalNames } from "./built-ins.ts";
import { freezeGlobals } from "./frozen-globals.ts";
import { tellModules } from "./module-graph.ts";
import { guardProcess } from "./process-guard.ts";
import { assignApart } from "./replaced-function.ts";
import { Warden } from "./warden.ts";
import { WorkerServer } from "./worker.ts";

// Whoever's turn it is: our own words and our own end are no session's.
const send = process.send?.bind(process);
const exit = (code: number): void => outside(() => process.exit(code));

// A worker without its primary has no lease, no view and nobody to tell: it must not go on.
process.on("disconnect", () => exit(0));
// A terminal's Ctrl-C goes to the whole group; the primary decides what it means for the workers.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

// A log that nobody reads, or on a disk that is full, is lost; no session is.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

// Written by our own primary, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const boot = JSON.parse(process.env[WORKER_BOOT_ENV] ?? "null") as WorkerBoot;
const log = createLog(boot.config.log, { node: boot.config.node, worker: boot.index });
const tell = (message: FromWorker): void => {
  if (process.connected) send?.(message);
};

installStoppableJson();
installSessionTimers();
installWebClasses();
const running = () => current.getStore();
const guard = guardProcess(new Warden({ running, log }));
// Libraries that want to know their caller set it for a moment. One that forgot to put it back would decide over everybody's errors.
assignApart(Error, "prepareStackTrace", running);
const globals = globalNames();
if (boot.tellModules) tellModules((modules) => tell({ type: "modules", modules }));

try {
  const worker = await WorkerServer.create(boot, tell, exit);
  // Node itself ends a worker whose primary is gone.
  process.on("exit", () => worker.letGo());
  process.on("message", (message: ToWorker) => {
    worker.receive(message);
    if (message.type === "stop") void worker.stop(message.reason, message.limitMs);
    if (message.type === "exit") void worker.leave(message.graceMs).finally(() => exit(0));
    if (message.type === "fence") void worker.fence().finally(() => exit(0));
  });
  await worker.start(() => {
    guard.pin();
    freezeGlobals(globals);
  });
} catch (error) {
  const failure = MeshError.from(error);
  send?.({ type: "failed", code: failure.code, message: failure.message }, () => exit(1));
}
