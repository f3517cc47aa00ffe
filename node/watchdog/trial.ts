// The trial at the start of a worker: a throw-away session spins, and the watchdog must end it and nobody else. Tells whether this Node
// and its flags keep what the watchdog promises.

import { SessionCall } from "#mesh";
import { MeshError, parseSessionId } from "#proto";
import { defineMesh } from "../session/application.ts";
import { createSessionHost } from "../session/host.ts";
import { SessionServer } from "../session/server.ts";
import type { Log } from "../log.ts";
import type { Kill, Watchdog } from "./watchdog.ts";

const TRIAL_BUDGET_MS = 100;
/** The culprit gives up by itself then. A machine with little to spare needs seconds for what takes 200 ms. */
const SPIN_LIMIT_MS = 5_000;
/** Never reached in a trial. */
const TRIAL_HEAP_MIB = 4_096;

class Culprit extends SessionServer {
  override async fetch(): Promise<Response> {
    // After an await: then nothing but Node is below the session's code, which is the harder case.
    await Promise.resolve();
    const endMs = performance.now() + SPIN_LIMIT_MS;
    while (performance.now() < endMs);
    return new Response();
  }
}

class Bystander extends SessionServer {
  override async fetch(): Promise<Response> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return new Response();
  }
}

/** Undefined when the culprit was ended and the bystander got its answer; else what went wrong. */
export async function tryWatchdog(watchdog: Watchdog, log: Log): Promise<string | undefined> {
  const kills: Kill[] = [];
  const host = createSessionHost({
    application: defineMesh({ sessions: { culprit: Culprit, bystander: Bystander } }),
    node: "trial",
    worker: 0,
    lease: { isOpen: () => true, whenOpen: () => Promise.resolve() },
    log,
    callSession: () => Promise.reject(new MeshError("internal", "sessions of the trial call nobody")),
    onEnded: () => {},
  });
  const takeBack = watchdog.lend({
    turnBudgetMs: TRIAL_BUDGET_MS,
    importBudgetMs: TRIAL_BUDGET_MS,
    turnHeapMiB: TRIAL_HEAP_MIB,
    log,
    kill: (key, error) => host.kill(key, error),
    onLoading: () => {},
    onKilled: (kill) => kills.push(kill),
  });
  const ask = async (kind: string): Promise<string> => {
    const id = parseSessionId(kind, "trial");
    host.activate(id, { epoch: 1, claim: 1 });
    const call = new SessionCall({
      id,
      method: "GET",
      url: "http://trial/",
      headers: [],
      timeoutMs: SPIN_LIMIT_MS * 2,
    });
    try {
      await host.fetch(call);
      return "answered";
    } catch (error) {
      return MeshError.from(error).code;
    }
  };
  try {
    const [culprit, bystander] = await Promise.all([ask("culprit"), ask("bystander")]);
    if (culprit !== "session_killed" || kills.length !== 1) return `a session that spins was not ended: ${culprit}`;
    if (bystander !== "answered") return `ending a session hurt its neighbour: ${bystander}`;
    return undefined;
  } finally {
    takeBack();
    host.close();
  }
}
