// Answers the primary's questions to this worker: about its sessions, and what other nodes say.

import { MeshError, isKind, parseSessionKey, type SessionKey } from "#proto";
import type { Router, SessionHost } from "#mesh";
import type { SessionInfo, WorkerAnswer, WorkerQuery } from "../ipc.ts";

export interface QuerySources {
  readonly host: SessionHost & { describe(key: SessionKey): SessionInfo | undefined };
  readonly router: Router;
}

export function answerQuery({ host, router }: QuerySources, query: WorkerQuery): WorkerAnswer | Promise<WorkerAnswer> {
  switch (query.op) {
    case "list": {
      const sessions = firstKeys(host, query.kind, query.after, query.limit).map((key) => host.describe(key));
      return { op: "list", sessions: sessions.filter((session) => session !== undefined) };
    }
    case "count":
      return { op: "count", count: countOf(host, query.kind) };
    case "describe":
      return { op: "describe", session: host.describe(parseSessionKey(query.key).key) };
    case "contact":
      return router
        .askContact(query.to, query.about, query.timeoutMs)
        .then((answer): WorkerAnswer => ({ op: "contact", answer }));
    case "relay":
      return router
        .askRelay(query.to, query.ask, query.timeoutMs)
        .then((relayed): WorkerAnswer => ({ op: "relay", relayed }));
    case "where":
      return { op: "where", ...router.whereabouts(parseSessionKey(query.key)) };
  }
}

function countOf(host: SessionHost, kind: string | undefined): number {
  if (kind !== undefined && !isKind(kind)) throw new MeshError("bad_request", `"${kind}" is not a session kind`);
  let count = 0;
  for (const { id } of host.sessions()) if (kind === undefined || id.kind === kind) count++;
  return count;
}

/** The first `limit` keys after `after`, in order, in memory that does not grow with the number of sessions. */
function firstKeys(host: SessionHost, kind: string | undefined, after: string, limit: number): SessionKey[] {
  let keys: SessionKey[] = [];
  let bound: SessionKey | undefined;
  for (const { id } of host.sessions()) {
    if (id.key <= after || (kind !== undefined && id.kind !== kind) || (bound !== undefined && id.key >= bound))
      continue;
    keys.push(id.key);
    if (keys.length >= limit * 4) {
      keys = keys.sort().slice(0, limit);
      bound = keys.at(-1);
    }
  }
  return keys.sort().slice(0, limit);
}
