// What would end or change the process, and with it all that it serves. In a session the call does not happen: it ends the session.

import cluster from "node:cluster";
import { EventEmitter } from "node:events";
import nodeProcess, { exit as namedExit } from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { callProcess, never, type Faults } from "./fault.ts";

const ends: Faults = {
  exit: { what: "process.exit()", run: () => process.exit(0) },
  "named-exit": { what: "exit() as imported from node:process", run: () => namedExit(0) },
  "imported-exit": {
    what: "process.exit() of a process that was imported late",
    run: async () => (await import("node:process")).default.exit(0),
  },
  "builtin-exit": {
    what: "process.exit() by process.getBuiltinModule()",
    run: () => process.getBuiltinModule("node:process").exit(0),
  },
  "caught-exit": {
    what: "process.exit(), and catches what it throws",
    run: () => {
      try {
        process.exit(0);
      } catch {
        return Response.json({ survived: "exit" });
      }
    },
  },
  "timer-exit": {
    what: "process.exit() in a timer",
    run: () => {
      setTimeout(() => process.exit(0), 1);
      return never();
    },
  },
  "listener-exit": {
    what: "process.exit as a listener of an emitter",
    run: () => {
      const emitter = new EventEmitter().once("end", process.exit);
      setImmediate(() => emitter.emit("end"));
      return never();
    },
  },
  reallyexit: { what: "process.reallyExit()", run: () => callProcess("reallyExit", 0) },
  abort: { what: "process.abort()", run: () => process.abort() },
};

const signals: Faults = {
  kill: { what: "process.kill() of its own process", run: () => process.kill(process.pid, "SIGKILL") },
  "kill-zero": { what: "process.kill() of its process group", run: () => process.kill(0, "SIGKILL") },
  "kill-group": {
    what: "process.kill() of its own process as a group",
    run: () => process.kill(-process.pid, "SIGKILL"),
  },
  // A signal that by itself does nothing, for whoever tries this where no guard is.
  "kill-all": { what: "process.kill() of all processes of the user", run: () => process.kill(-1, "SIGURG") },
  "kill-primary": { what: "process.kill() of the parent", run: () => nodeProcess.kill(process.ppid, "SIGKILL") },
  "kill-primary-group": {
    what: "process.kill() of the parent's process group",
    run: () => process.kill(-process.ppid, "SIGKILL"),
  },
  "hidden-kill": { what: "process._kill() of the parent", run: () => callProcess("_kill", process.ppid, 9) },
};

const state: Faults = {
  chdir: { what: "process.chdir()", run: () => process.chdir("/") },
  umask: { what: "process.umask() with a mask", run: () => process.umask(0) },
  "capture-callback": {
    what: "process.setUncaughtExceptionCaptureCallback()",
    run: () => process.setUncaughtExceptionCaptureCallback(() => {}),
  },
  binding: { what: "process.binding()", run: () => callProcess("binding", "fs") },
};

const channel: Faults = {
  disconnect: { what: "process.disconnect()", run: () => callProcess("disconnect") },
  send: { what: "process.send()", run: () => callProcess("send", { type: "stopped" }) },
  "cluster-kill": { what: "cluster.worker.kill()", run: () => cluster.worker?.kill() },
  "cluster-destroy": { what: "cluster.worker.destroy()", run: () => cluster.worker?.destroy() },
  "cluster-disconnect": { what: "cluster.worker.disconnect()", run: () => cluster.worker?.disconnect() },
  "cluster-send": { what: "cluster.worker.send()", run: () => cluster.worker?.send({ type: "stopped" }) },
  "emit-message": {
    what: "process.emit() of a message from the primary",
    run: () => process.emit("message", { type: "fence", reason: "forged" }, undefined),
  },
  "emit-disconnect": { what: "process.emit() of the loss of the primary", run: () => process.emit("disconnect") },
};

const listeners: Faults = {
  "remove-all": { what: "process.removeAllListeners()", run: () => process.removeAllListeners() },
  "remove-all-faults": {
    what: 'process.removeAllListeners("uncaughtException")',
    run: () => process.removeAllListeners("uncaughtException"),
  },
  "remove-fault-listener": {
    what: "takes the listeners off that contain faults",
    run: () => {
      for (const listener of process.listeners("uncaughtException")) process.off("uncaughtException", listener);
    },
  },
  "remove-message-listener": {
    what: "takes the listeners off that hear the primary",
    run: () => {
      for (const listener of process.listeners("message")) process.removeListener("message", listener);
    },
  },
  "emit-uncaught": {
    what: "process.emit() of an uncaught exception",
    run: () => process.emit("uncaughtException", new Error("forged")),
  },
};

const output: Faults = {
  stdout: { what: "process.stdout.end()", run: () => process.stdout.end() },
  stderr: { what: "process.stderr.end()", run: () => process.stderr.end() },
  "destroy-stderr": { what: "process.stderr.destroy()", run: () => process.stderr.destroy() },
  "pipe-into-stdout": {
    what: "pipeline() into process.stdout, which ends it",
    run: () => pipeline(Readable.from([""]), process.stdout),
  },
};

export const processFaults: Faults = { ...ends, ...signals, ...state, ...channel, ...listeners, ...output };
