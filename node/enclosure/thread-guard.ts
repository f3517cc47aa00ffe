// A thread shares the process with its worker, so its session is guarded as any shared session is.

import type { Log } from "../log.ts";
import { current } from "../session/current.ts";
import { guardProcess } from "../worker/process-guard.ts";
import { Warden } from "../worker/warden.ts";

export function guardThread(log: Log): () => void {
  const guard = guardProcess(new Warden({ running: () => current.getStore(), log }));
  return () => guard.pin();
}
