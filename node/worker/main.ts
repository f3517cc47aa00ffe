// Entry of a worker process. What must be in place before application code is loaded is put in place here, in this order.

import { MeshError } from "#proto";
import { WORKER_BOOT_ENV, type FromWorker, type ToWorker, type WorkerBoot } from "../ipc.ts";
import { installStoppableJson } from "../session/json.ts";
import { installSessionTimers } from "../session/timers.ts";
import { installWebClasses } from "../web/web.ts";
import { WorkerServer } from "./worker.ts";

// A worker without its primary has no lease, no view and nobody to tell: it must not go on.
process.on("disconnect", () => process.exit(0));
// A terminal's Ctrl-C goes to the whole group; the primary decides what it means for the workers.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});

installStoppableJson();
installSessionTimers();
installWebClasses();

// Written by our own primary, of the same code.
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const boot = JSON.parse(process.env[WORKER_BOOT_ENV] ?? "null") as WorkerBoot;
const tell = (message: FromWorker): void => {
  if (process.connected) process.send?.(message);
};

try {
  const worker = await WorkerServer.create(boot, tell, (code) => process.exit(code));
  process.on("message", (message: ToWorker) => {
    worker.receive(message);
    if (message.type === "stop") void worker.stop(message.reason, message.limitMs);
    if (message.type === "exit") void worker.leave(message.graceMs).finally(() => process.exit(0));
    if (message.type === "fence") void worker.fence().finally(() => process.exit(0));
  });
  await worker.start();
} catch (error) {
  const failure = MeshError.from(error);
  process.send?.({ type: "failed", code: failure.code, message: failure.message }, () => process.exit(1));
}
