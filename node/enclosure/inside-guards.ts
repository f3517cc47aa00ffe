// What code inside an enclosure may not do to those outside of it. A thread shares the process with its worker, so it is guarded as any
// shared session is. A process is the session's own: it may end or change it as it likes, but not the other processes of the mesh.

import { syncBuiltinESMExports } from "node:module";
import { MeshError } from "#proto";
import type { Log } from "../log.ts";
import { current, outside } from "../session/current.ts";
import { isOfTheNode } from "../worker/kill-target.ts";
import { guardProcess } from "../worker/process-guard.ts";
import { replaceFunction } from "../worker/replaced-function.ts";
import { Warden } from "../worker/warden.ts";

/** Called before the application is loaded; what it returns, once it is loaded. */
export type Guard = (log: Log) => () => void;

export const guardThread: Guard = (log) => {
  const guard = guardProcess(new Warden({ running: () => current.getStore(), log }));
  return () => guard.pin();
};

export const guardSignals: Guard = (log) => {
  replaceFunction(process, "kill", (native) => {
    return function (this: unknown, ...parameters: unknown[]) {
      const session = current.getStore();
      const pid = Number(parameters[0]);
      if (session === undefined || pid === process.pid || !isOfTheNode(pid)) {
        return Reflect.apply(native, this, parameters);
      }
      const { key } = session.id;
      const why = "the session was ended because it called process.kill() on a process of the mesh";
      const error = new MeshError("session_killed", why, { session: key });
      outside(() => {
        log.error("session killed", { session: key, reason: "process.kill()", stack: error.stack });
        session.kill(error);
      });
      throw error;
    };
  });
  syncBuiltinESMExports();
  return () => {};
};
