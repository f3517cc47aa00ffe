// Routing by the application's own `fetch(request, mesh)`: it sees every request, answers some itself and hands others to sessions.
// A WebSocket request goes the same way; a stub or `mesh.route` answers it with an opaque Response that names the session.

import type { Socket } from "node:net";
import { SessionCall, type SessionReply } from "#mesh";
import { MeshError } from "#proto";
import type { Log } from "../log.ts";
import type { ApplicationMesh } from "../session/application.ts";
import { failureText, type ClientErrors } from "../session/failure-text.ts";
import type { MeshSessions } from "../session/stub.ts";
import { afterVisit, visit, visitor } from "../session/visiting.ts";
import { acceptedCallOf, acceptUpgrade, isResponse, replyOf, requestOf, responseOf, tooLarge } from "../web/web.ts";
import type { GatewayRouter } from "./port.ts";
import { problemReply } from "./problem.ts";
import { NO_BODY, resolve, type BodySource, type RoutedRequest, type Routing } from "./routes.ts";
import { SMALL_BODY_BYTES_MAX } from "./small-body.ts";

export type ApplicationAnswer =
  | { readonly status: "reply"; readonly reply: SessionReply }
  /** A WebSocket goes to the session of the call. */
  | { readonly status: "upgrade"; readonly call: SessionCall };

export interface ApplicationRouterOptions {
  readonly fetch: (request: Request, mesh: ApplicationMesh) => unknown;
  readonly sessions: MeshSessions;
  readonly routing: Routing;
  readonly log: Log;
  /** What clients are told of errors of the application. Default: `brief`. */
  readonly clientErrors?: ClientErrors | undefined;
}

export class ApplicationRouter {
  readonly #options: ApplicationRouterOptions;
  readonly #mesh: ApplicationMesh;
  /** The application may pass a body on to any kind; that kind's own limit holds there. */
  readonly #bodyBytesMax: number;

  constructor(options: ApplicationRouterOptions) {
    this.#options = options;
    const { routing, sessions } = options;
    const { router } = routing;
    this.#mesh = {
      session: (kind, name, stubOptions) => sessions.session(kind, name, stubOptions),
      route: (request) => routeRequest(routing, request),
    };
    this.#bodyBytesMax = Math.max(...router.kinds().map((kind) => router.limitsOf(kind).maxBodyBytes));
  }

  /** The answer to a plain request, which cannot be handed a WebSocket. Rejects MeshError only. */
  async answerRequest(request: RoutedRequest, body: BodySource, signal: () => AbortSignal): Promise<SessionReply> {
    const answered = await this.#answer(request, body, signal);
    if (answered.status === "reply") return answered.reply;
    throw new MeshError("bad_upgrade", "a WebSocket handshake was expected: the request lacks `Connection: Upgrade`");
  }

  /** A handshake has no response to watch before it is answered: its client is gone when the connection is. Rejects MeshError only. */
  async answerUpgrade(request: RoutedRequest, socket: Socket): Promise<ApplicationAnswer> {
    const gone = new AbortController();
    const abort = (): void => gone.abort(new MeshError("cancelled", "the client went away"));
    socket.once("close", abort);
    try {
      return await this.#answer(request, NO_BODY, () => gone.signal);
    } finally {
      socket.off("close", abort);
    }
  }

  /** A Response that the application throws is its answer; what else it throws is logged and becomes `handler_failed`. */
  async #answer(request: RoutedRequest, body: BodySource, signal: () => AbortSignal): Promise<ApplicationAnswer> {
    const { method, url, headers, ip } = request;
    const given = requestOf({ method, url, headers, body: body.open(this.#bodyBytesMax) }, signal);
    try {
      const response = await visit(ip, async () => responseFrom(() => this.#options.fetch(given, this.#mesh)));
      const call = acceptedCallOf(response);
      return call === undefined
        ? { status: "reply", reply: replyOf(response, "the application") }
        : { status: "upgrade", call };
    } catch (error) {
      if (error instanceof MeshError) throw error;
      const { log, clientErrors = "brief" } = this.#options;
      log.error("the application's fetch failed", { error });
      const why = failureText(error, "the application's fetch() failed; the worker's log has the reason", clientErrors);
      throw new MeshError("handler_failed", why, { cause: error });
    }
  }
}

async function responseFrom(fetch: () => unknown): Promise<unknown> {
  try {
    return await fetch();
  } catch (thrown) {
    if (isResponse(thrown)) return thrown;
    throw thrown;
  }
}

/** Asks the application's own hooks like any other request, as the client's on whose behalf its `fetch` runs. */
function routeRequest(routing: Routing, request: Request): Promise<Response> {
  const ip = visitor()?.ip ?? "";
  return afterVisit(() => routeFor(routing, request, ip));
}

async function routeFor(routing: Routing, request: Request, ip: string): Promise<Response> {
  const { router } = routing;
  const { method, url, headers, signal } = request;
  const upgrade = headers.get("upgrade")?.toLowerCase() === "websocket";
  const { pathname, search } = new URL(url);
  const list: string[] = [];
  for (const [name, value] of headers) list.push(name, value);
  try {
    const body = upgrade ? NO_BODY : await bodyOf(request);
    const resolved = await resolve(
      routing,
      { method, url, target: pathname + search, headers: list, ip },
      body,
      upgrade,
    );
    if (!(resolved instanceof SessionCall)) return responseOf(resolved);
    if (upgrade) return acceptUpgrade(resolved);
    return responseOf(await routeUntilAborted(router, resolved, signal));
  } catch (error) {
    if (error instanceof MeshError) return responseOf(problemReply(error));
    throw error;
  }
}

/** Read whole where the client's body was small, as if the application had not been asked. Kinds check their own limits. */
async function bodyOf(request: Request): Promise<BodySource> {
  const length = request.headers.get("content-length");
  const whole = length !== null && Number(length) <= SMALL_BODY_BYTES_MAX ? await request.bytes() : undefined;
  return {
    open: (bytesMax) => {
      if (whole === undefined) return request.body;
      if (whole.byteLength > bytesMax) throw tooLarge(bytesMax);
      return whole;
    },
  };
}

async function routeUntilAborted(router: GatewayRouter, call: SessionCall, signal: AbortSignal): Promise<SessionReply> {
  signal.throwIfAborted();
  // Stays after the head of the response: the body may be streaming when the client goes.
  signal.addEventListener("abort", () => call.cancel(new MeshError("cancelled", "the request was aborted")), {
    once: true,
  });
  return router.route(call);
}
