// Stubs: how code asks another session, wherever it lives. A stub is an address; it holds no connection and costs nothing to make.

import { MeshError, parseSessionId, type Claims, type SessionId } from "#proto";
import type { Lease, SessionCall, SessionReply } from "#mesh";
import { acceptUpgrade, responseOf } from "../web/web.ts";
import { answerBody } from "./answer-body.ts";
import { current, outside } from "./current.ts";
import type { SessionClass } from "./server.ts";
import { callOf } from "./stub-call.ts";
import { turns } from "./turns.ts";
import { afterVisit } from "./visiting.ts";

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
   * the signal's reason when it was aborted. Aborted later, the body fails with that reason, and so does the other session's `request.signal`.
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
  const given = callOf(id, options, input, init);
  const { call, signal } = given instanceof Promise ? await given : given;
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
  if (signal === null) return responseOf(await answered, call.method);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const cancel = (): void =>
    call.cancel(new MeshError("cancelled", "the caller aborted the request", { session: id.key }));
  const onAbort = (): void => {
    cancel();
    reject(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const reply = await Promise.race([answered, aborted]);
    const { body } = reply;
    if (!(body instanceof ReadableStream) || call.method === "HEAD") return responseOf(reply, call.method);
    return responseOf({ ...reply, body: answerBody(body, { signal, aborted: cancel }) });
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
