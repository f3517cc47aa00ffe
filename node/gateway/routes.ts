// The built-in routing: which session a path means, and the few paths that are the mesh's own. Pure apart from the router.

import { SessionCall, type SessionReply } from "#mesh";
import { MeshError, type HeaderList, type SessionId } from "#proto";
import type { Door } from "./door.ts";
import { frontPageReply } from "./front-page.ts";
import type { GatewayRouter, KindLimits } from "./port.ts";
import { methodNotAllowed } from "./problem.ts";
import type { RateLimit } from "./rate-limit.ts";
import { matchSessionPath, pathOf, sessionIdOf } from "./session-path.ts";

export const HEALTH_PATH = "/_mesh/health";

export interface RoutedRequest {
  readonly method: string;
  /** Absolute and canonical. */
  readonly url: string;
  /** Path and query of `url`. */
  readonly target: string;
  readonly headers: HeaderList;
  /** Address of the client; "" when it is gone already. */
  readonly ip: string;
}

/** Gives the body once it is known how large it may be. Throws `body_too_large`. */
export interface BodySource {
  open(bytesMax: number): Uint8Array | ReadableStream<Uint8Array> | null;
}

export const NO_BODY: BodySource = { open: () => null };

/** What the routing relies on. */
export interface Routing {
  readonly router: GatewayRouter;
  readonly door: Door;
  /** Of requests to one session. Undefined: unlimited. */
  readonly perSession: RateLimit | undefined;
}

/**
 * A call to route, or the answer when the path is not a session's or the application refuses the request. A promise where its hooks
 * are asked. Throws or rejects MeshError.
 */
export function resolve(
  { router, door, perSession }: Routing,
  request: RoutedRequest,
  body: BodySource,
  upgrade: boolean,
): SessionCall | SessionReply | Promise<SessionCall | SessionReply> {
  const path = matchSessionPath(request.target);
  if (path === undefined) return answerOwnPath(router, request);
  const limits = router.limitsOf(path.kind);
  if (path.name === undefined) {
    if (request.method !== "POST") return methodNotAllowed(request.method, `/sessions/${path.kind}`, ["POST"]);
    return create(router, door, path.kind, request);
  }
  const id = sessionIdOf(path.kind, path.name);
  perSession?.take(id.key);
  const admission = door.admit(id, request, upgrade);
  if (admission === undefined) return callOf(id, request, body, limits, undefined);
  return admission.then((admitted) =>
    "status" in admitted
      ? admitted
      : callOf(id, { ...request, headers: admitted.headers }, body, limits, admitted.claims),
  );
}

function callOf(
  id: SessionId,
  { method, url, headers, ip }: RoutedRequest,
  body: BodySource,
  { maxBodyBytes, requestTimeoutMs }: KindLimits,
  claims: Uint8Array | undefined,
): SessionCall {
  return new SessionCall({
    id,
    method,
    url,
    headers,
    body: body.open(maxBodyBytes),
    timeoutMs: requestTimeoutMs,
    ip,
    claims,
  });
}

export function isHealthCheck(target: string): boolean {
  return target === HEALTH_PATH || target.startsWith(`${HEALTH_PATH}?`);
}

function answerOwnPath(router: GatewayRouter, { method, url, target, headers }: RoutedRequest): SessionReply {
  const health = isHealthCheck(target);
  if (!health && target !== "/" && !target.startsWith("/?")) {
    const paths = `/sessions/:kind/:name/..., /parties/:kind/:name/..., POST /sessions/:kind, ${HEALTH_PATH} and /`;
    throw new MeshError("not_found", `nothing is served at ${pathIn(target)}; there are ${paths}`);
  }
  if (method !== "GET" && method !== "HEAD") return methodNotAllowed(method, pathIn(target), ["GET", "HEAD"]);
  return health ? healthReply(router) : frontPageReply(url, headers, router.kinds());
}

export function healthReply(router: GatewayRouter): SessionReply {
  const accepting = router.accepting();
  return {
    status: accepting ? 200 : 503,
    statusText: "",
    headers: ["content-type", "application/json", "cache-control", "no-store"],
    body: accepting ? '{"status":"ok"}\n' : '{"status":"unavailable"}\n',
  };
}

async function create(router: GatewayRouter, door: Door, kind: string, request: RoutedRequest): Promise<SessionReply> {
  const id = router.createName(kind);
  const admitted = await door.admit(id, request, false);
  if (admitted !== undefined && "status" in admitted) return admitted;
  await router.activate(id);
  const path = pathOf(id);
  return {
    status: 201,
    statusText: "",
    headers: ["content-type", "application/json", "cache-control", "no-store", "location", path],
    body: `${JSON.stringify({ kind: id.kind, name: id.name, url: new URL(path, request.url).href })}\n`,
  };
}

function pathIn(target: string): string {
  return target.split("?", 1)[0]?.slice(0, 80) ?? "";
}
