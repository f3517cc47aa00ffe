// What libraries do to the process in good faith. It ends nothing, and has no effect on other sessions.

import { spin, type Faults } from "./fault.ts";

export const habits: Faults = {
  "uncaught-listener": {
    what: 'process.on("uncaughtException")',
    run: () => process.on("uncaughtException", () => spin()),
  },
  "rejection-listener": {
    what: 'process.prependOnceListener("unhandledRejection")',
    run: () => process.prependOnceListener("unhandledRejection", () => spin()),
  },
  "assign-exit": { what: "process.exit = ...", run: () => (process.exit = () => spin()) },
  "assign-emit": { what: "process.emit = ...", run: () => (process.emit = () => spin()) },
  "assign-write": { what: "process.stderr.write = ...", run: () => (process.stderr.write = () => spin()) },
  "exit-code": { what: "process.exitCode = 7", run: () => (process.exitCode = 7) },
  "prepare-stack": { what: "Error.prepareStackTrace = ...", run: () => (Error.prepareStackTrace = () => spin()) },
  listeners: {
    what: "listeners on process, and off again",
    run: () => {
      const listener = (): void => {};
      process.on("exit", listener).once("SIGTERM", listener).addListener("warning", listener);
      process.off("exit", listener).off("SIGTERM", listener).removeListener("warning", listener);
    },
  },
  reads: {
    what: "reads umask, cwd and memory, and asks whether a process is there",
    run: () => {
      process.umask();
      process.cwd();
      process.kill(process.pid, 0);
      process.memoryUsage();
    },
  },
};
