// What a class says to requests or sockets by not having the hooks for them. It is said before any session is started: a stranger who asks for
// what nobody serves must leave nothing behind.

import { MeshError, type SessionId } from "#proto";
import type { SessionKind } from "./application.ts";

export function requestRefusal(
  kind: Pick<SessionKind, "name" | "server" | "answers">,
  id: SessionId,
): MeshError | undefined {
  if (kind.answers) return undefined;
  const why = `sessions of kind ${kind.name} answer no requests: ${kind.server.name} has no method fetch() (a field is not seen)`;
  return new MeshError("not_found", why, { session: id.key });
}

export function socketRefusal(
  kind: Pick<SessionKind, "name" | "server" | "takesSockets">,
  id: SessionId,
): MeshError | undefined {
  if (kind.takesSockets) return undefined;
  const why = `sessions of kind ${kind.name} take no sockets: add a method onConnect() or onMessage() to ${kind.server.name} (a field is not seen)`;
  return new MeshError("bad_upgrade", why, { session: id.key });
}
