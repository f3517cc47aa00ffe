// A process of its own may be ended or changed by its session as that likes. Only signals to the other processes of the mesh end the session
// instead.

import { syncBuiltinESMExports } from "node:module";
import { MeshError } from "#proto";
import type { Log } from "../log.ts";
import { current, outside } from "../session/current.ts";
import { isOfTheNode } from "../worker/kill-target.ts";
import { replaceFunction } from "../worker/replaced-function.ts";

export function guardSignals(log: Log): () => void {
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
}
