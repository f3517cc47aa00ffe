// Errors as clients see them: RFC 9457 problem details, never a stack.

import { MeshError, problemOf } from "#proto";
import type { SessionReply } from "#mesh";

/** @param extra further headers: name and value in turn */
export function problemReply(error: MeshError, extra: readonly string[] = []): SessionReply {
  const headers = ["content-type", "application/problem+json", "cache-control", "no-store", ...extra];
  // Whole seconds, rounded up: a client that comes back too early is sent away again.
  if (error.retryAfterMs !== undefined) headers.push("retry-after", String(Math.ceil(error.retryAfterMs / 1_000)));
  if (error.code === "bad_upgrade") headers.push("upgrade", "websocket", "sec-websocket-version", "13");
  return { status: error.status, statusText: "", headers, body: `${JSON.stringify(problemOf(error))}\n` };
}

export function methodNotAllowed(method: string, where: string, allowed: readonly string[]): SessionReply {
  const error = new MeshError("method_not_allowed", `${where} takes ${allowed.join(", ")}; ${method} is not allowed`);
  return problemReply(error, ["allow", allowed.join(", ")]);
}
