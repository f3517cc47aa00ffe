// `process`, as sessions may use it: what they read works, what would end or change the process ends them instead. Code that runs as
// nobody's, such as an application module while it is loaded, has all of Node. To be installed before the application is loaded, so
// that it gets hold of nothing else.

import cluster from "node:cluster";
import { syncBuiltinESMExports } from "node:module";
import { getCallSites } from "node:util";
import { isOfTheNode } from "./kill-target.ts";
import { guardListeners } from "./process-listeners.ts";
import { assignApart, isCallable, replaceFunction } from "./replaced-function.ts";
import type { Warden } from "./warden.ts";

const LEAVE_IT = "it belongs to all sessions; leave it as it is";
const END_ONLY_YOURSELF = "call ctx.destroy() to end this session";

/** Never a session's business, with what to do instead. */
const BANNED: Readonly<Record<string, string>> = {
  abort: END_ONLY_YOURSELF,
  exit: END_ONLY_YOURSELF,
  reallyExit: END_ONLY_YOURSELF,
  execve: "start a child process",
  chdir: "use absolute paths, or the cwd option of a child process",
  disconnect: "it is the worker's connection to its primary",
  setUncaughtExceptionCaptureCallback: "what escapes from a session ends it",
  addUncaughtExceptionCaptureCallback: "what escapes from a session ends it",
  setuid: LEAVE_IT,
  setgid: LEAVE_IT,
  seteuid: LEAVE_IT,
  setegid: LEAVE_IT,
  setgroups: LEAVE_IT,
  initgroups: LEAVE_IT,
  binding: "use the public modules of Node",
  _linkedBinding: "use the public modules of Node",
  _debugEnd: "the worker's watchdog relies on it",
  _debugProcess: "it stops a process of the mesh",
};

/** Banned with some parameters: why, or undefined when they do no harm. */
const CONDITIONS: Readonly<Record<string, (parameters: readonly unknown[]) => string | undefined>> = {
  kill: signalOfNode,
  _kill: signalOfNode,
  umask: ([mask]) => (mask === undefined ? undefined : "give files their modes when you make them"),
  // Node's own words to the primary of a cluster, such as of a server that listens, are sent on behalf of whoever calls.
  send: ([message]) => (isNodeMessage(message) ? undefined : "it is the worker's connection to its primary"),
  // `require` of a native add-on comes from Node; whatever else loads code into the process does not.
  dlopen: () => (callerIsNode() ? undefined : "use require()"),
};

const LISTENERS = [
  "on",
  "addListener",
  "prependListener",
  "once",
  "prependOnceListener",
  "off",
  "removeListener",
  "removeAllListeners",
  "emit",
];
const GUARDED = [...Object.keys(BANNED), ...Object.keys(CONDITIONS), ...LISTENERS, "cwd"];

export interface ProcessGuard {
  /** To be called when the application is loaded: what stands on `process` then stays, for all but the session that assigns something. */
  pin(): void;
}

/** Once a process. In a `worker_threads` thread it guards the thread's own `process`. */
export function guardProcess(warden: Warden): ProcessGuard {
  for (const [name, instead] of Object.entries(BANNED)) ban(process, "process", name, () => instead, warden);
  for (const [name, condition] of Object.entries(CONDITIONS)) ban(process, "process", name, condition, warden);
  guardListeners(process, warden);
  guardOutput("stdout", warden);
  guardOutput("stderr", warden);
  const { worker } = cluster;
  if (worker !== undefined) {
    for (const name of ["kill", "destroy", "disconnect"]) {
      ban(worker, "cluster.worker", name, () => END_ONLY_YOURSELF, warden);
    }
  }
  syncBuiltinESMExports();
  return {
    pin: () => {
      for (const name of GUARDED) keepApart(process, "process", name, warden);
      // The rest, which is read often or patched by nobody, in the cheapest way.
      for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(process))) {
        if (property.configurable === true && isCallable(property.value)) {
          Object.defineProperty(process, name, { writable: false, configurable: false });
        }
      }
      for (const name of ["stdout", "stderr", "stdin"]) Object.defineProperty(process, name, { configurable: false });
      syncBuiltinESMExports();
    },
  };
}

function ban(
  holder: object,
  holderName: string,
  name: string,
  condition: (parameters: readonly unknown[]) => string | undefined,
  warden: Warden,
): void {
  replaceFunction(holder, name, (native) => {
    return function (this: unknown, ...parameters: unknown[]) {
      const session = warden.running();
      const instead = session === undefined ? undefined : condition(parameters);
      if (session === undefined || instead === undefined) return Reflect.apply(native, this, parameters);
      return warden.end(session, `${holderName}.${name}()`, instead);
    };
  });
}

function keepApart(holder: object, holderName: string, name: string, warden: Warden): void {
  assignApart(holder, name, warden.running, {
    told: (session) =>
      warden.tell(session, `${holderName}.${name} is changed for no other than the session that assigns it`),
    // Node itself calls it, to tell of the session's own faults.
    kept: name !== "emit",
  });
}

/** One stream for all: who ends it silences everybody, the log included. */
function guardOutput(name: "stdout" | "stderr", warden: Warden): void {
  const stream = process[name];
  const holderName = `process.${name}`;
  for (const method of ["end", "destroy", "destroySoon", "removeAllListeners"]) {
    // A stream that has failed, because nobody reads it any more, is destroyed by Node on behalf of who happened to write.
    const condition = (): string | undefined =>
      method === "destroy" && callerIsNode("errorOrDestroy") ? undefined : "write to it, and leave it open";
    ban(stream, holderName, method, condition, warden);
    keepApart(stream, holderName, method, warden);
  }
  replaceFunction(stream, "write", (native) => native.bind(stream));
  keepApart(stream, holderName, "write", warden);
}

function signalOfNode([pid, signal]: readonly unknown[]): string | undefined {
  // Signal 0 only asks whether a process is there.
  return signal !== 0 && isOfTheNode(Number(pid)) ? END_ONLY_YOURSELF : undefined;
}

function isNodeMessage(message: unknown): boolean {
  if (typeof message !== "object" || message === null || !("cmd" in message)) return false;
  return typeof message.cmd === "string" && message.cmd.startsWith("NODE_");
}

/** Who called the banned function is Node: the function of that name, or any. */
function callerIsNode(functionName?: string): boolean {
  // Frames: this function, the condition, the function in the place of the banned one, its caller.
  const caller = getCallSites(4)[3];
  if (caller?.scriptName.startsWith("node:") !== true) return false;
  return functionName === undefined || caller.functionName === functionName;
}
