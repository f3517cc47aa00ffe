// Stubs: how code asks another session, wherever it lives. A stub is an address; it holds no connection and costs nothing to make.

import { MeshError, encodeClaims, parseSessionId, type Claims, type HeaderList, type SessionId } from "#proto";
import { SessionCall, type Lease, type SessionReply } from "#mesh";
import { acceptUpgrade, responseOf } from "../web/web.ts";
import { current, outside } from "./current.ts";
import type { SessionClass } from "./server.ts";
import { turns } from "./turns.ts";
import { afterVisit, visitor } from "./visiting.ts";

/** How a session is addressed. */
export interface StubOptions {
  /** Never starts the session: fails with `not_active` instead. */
  readonly onlyIfActive?: boolean;
  /**
   * What the session shall know about who asks, as `ctx.claims` and the like: for an application that judges in its own `fetch`, which calls no
   * hooks. A plain object; 16 KiB at most as a structured clone, else `fetch` rejects with `bad_app`.
   */
  readonly claims?: Claims;
}

/** The address of a session, live or not. It holds no connection and costs nothing to make. */
export interface MeshStub {
  readonly id: { readonly kind: string; readonly name: string };
  /**
   * Like the global `fetch`; a path such as "/items?page=2" is enough. Rejects with MeshError when the session could not answer, with
   * the signal's reason when it was aborted.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/** The sessions of the mesh: `ctx.mesh`, and the `mesh` of an application's own `fetch`. */
export interface MeshSessions {
  /** Throws `unknown_kind` or `bad_name`. */
  session(kind: string | SessionClass, name: string, options?: StubOptions): MeshStub;
}

export interface StubServices {
  /** Throws `unknown_kind`. */
  kindOf(kind: string | SessionClass): string;
  callSession(call: SessionCall): SessionReply | Promise<SessionReply>;
  readonly lease: Lease;
}

/** What a path alone is relative to. */
const BASE_URL = "http://mesh";
/** To the head of the response; the session's own `requestTimeoutMs` may be shorter. */
const STUB_TIMEOUT_MS = 30_000;

export function createStubs(services: StubServices): MeshSessions {
  return {
    session: (kind, name, options = {}) => {
      const id = parseSessionId(services.kindOf(kind), name);
      return { id, fetch: (input, init) => fetchFrom(services, id, options, input, init) };
    },
  };
}

async function fetchFrom(
  services: StubServices,
  id: SessionId,
  options: StubOptions,
  input: string | URL | Request,
  init: RequestInit | undefined,
): Promise<Response> {
  const { call, signal } = callOf(id, options, input, init);
  if (input instanceof Request && input.headers.get("upgrade")?.toLowerCase() === "websocket")
    return acceptUpgrade(call);
  // A request to another session is an output like any other: none leaves after the caller's end or without the lease.
  const caller = current.getStore();
  if (!services.lease.isOpen()) await services.lease.whenOpen();
  if (caller?.ended === true) {
    throw new MeshError("session_stopped", `${caller.id.key} has ended; it can call nobody`, {
      session: caller.id.key,
    });
  }
  signal?.throwIfAborted();
  const answered = turns.alone(outside(() => afterVisit(async () => services.callSession(call))));
  if (signal === null) return responseOf(await answered);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    call.cancel(new MeshError("cancelled", "the caller aborted the request", { session: id.key }));
    reject(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return responseOf(await Promise.race([answered, aborted]));
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function callOf(
  id: SessionId,
  { onlyIfActive = false, claims: given }: StubOptions,
  input: string | URL | Request,
  init: RequestInit | undefined,
): { call: SessionCall; signal: AbortSignal | null } {
  // The application's own `fetch` hands a client's request on; a session asks for itself.
  const ip = visitor()?.ip ?? "";
  const claims = given === undefined ? undefined : encodeClaims(given);
  const base = { id, onlyIfActive, timeoutMs: STUB_TIMEOUT_MS, ip, claims };
  const plain = input instanceof Request ? undefined : plainBody(init?.body);
  if (plain === undefined) {
    // Forms, blobs and streams bring a content type and an encoding of their own: the standard class knows them all.
    const request =
      input instanceof Request && init === undefined
        ? input
        : new Request(input instanceof Request ? input : new URL(input, BASE_URL), { ...init, ...STREAMS });
    const { method, url, body } = request;
    return {
      call: new SessionCall({ ...base, method, url, headers: flat(request.headers), body }),
      signal: request.signal,
    };
  }
  const headers = new Headers(init?.headers);
  if (typeof init?.body === "string" && !headers.has("content-type")) {
    headers.set("content-type", "text/plain;charset=UTF-8");
  }
  const method = (init?.method ?? "GET").toUpperCase();
  if (plain.body !== null && (method === "GET" || method === "HEAD")) {
    throw new TypeError(`a ${method} request cannot have a body`);
  }
  const url = new URL(input instanceof Request ? input.url : input, BASE_URL).href;
  return {
    call: new SessionCall({ ...base, method, url, headers: flat(headers), body: plain.body }),
    signal: init?.signal ?? null,
  };
}

/** A body that is whole already can be sent again when nothing of it was used; a stream cannot. */
function plainBody(body: unknown): { body: Uint8Array | null } | undefined {
  if (body === undefined || body === null) return { body: null };
  if (typeof body === "string") return { body: Buffer.from(body) };
  if (body instanceof ArrayBuffer) return { body: new Uint8Array(body) };
  return body instanceof Uint8Array ? { body } : undefined;
}

/** Node asks for this where a body is a stream. */
const STREAMS = { duplex: "half" } as const;

function flat(headers: Headers): HeaderList {
  const list: string[] = [];
  for (const [name, value] of headers) list.push(name, value);
  return list;
}
