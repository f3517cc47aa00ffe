// What an application may say about a request before anything of its session is touched: the shapes of `authorize` and of the static
// hooks of a class. The gateway that took the client calls them, so they see no session and no state.

import { isClaims, type Claims } from "#proto";

/** A request for a session, HTTP or WebSocket, by whatever path it came. */
export interface Visit {
  /** As parsed, once: what the session will be, whatever escapes the URL was written with. */
  readonly kind: string;
  readonly name: string;
  /** Method, URL and headers; its body is left to the session and is empty here. */
  readonly request: Request;
  /** Address of the client; see `Caller`. */
  readonly ip: string | undefined;
}

/** What the static hooks of a class get besides the request. */
export interface Lobby {
  readonly kind: string;
  readonly name: string;
  /** Address of the client; see `Caller`. */
  readonly ip: string | undefined;
  /** What `authorize` passed on. */
  readonly claims: Claims | undefined;
}

/**
 * - nothing, or `true`: the request goes on.
 * - a Response: it is the answer, and no session hears of the request. It may be thrown, too, and so may a MeshError.
 * - `false`: the answer is 403.
 * - a plain object: claims, which the session gets as `ctx.claims`, `socket.claims` and `caller.claims`; 16 KiB at most as a structured clone.
 * - a Request: the request goes on with the headers of this one. Its URL, method and body are not looked at.
 *
 * Anything else is an error, and every other error is logged and answered with 500: what cannot be judged is refused.
 */
export type Verdict = void | undefined | boolean | Response | Request | Claims;

/** Judges every request for every session. Has 10 s; then the client gets 504. */
export type Authorize = (visit: Visit) => Verdict | Promise<Verdict>;

/** The same for one class, after `authorize`. */
export type BeforeHook = (request: Request, lobby: Lobby) => Verdict | Promise<Verdict>;

/** The hooks of a class, bound to it; undefined for what it has not. */
export interface KindHooks {
  readonly onBeforeRequest: BeforeHook | undefined;
  readonly onBeforeConnect: BeforeHook | undefined;
  readonly protocols?: ProtocolChoice | undefined;
}

/**
 * The WebSocket sub-protocols that a class speaks, best first; or a function that is given what a client offers, at least one, and says which
 * it shall be, or undefined for none. It must not wait.
 */
export type ProtocolChoice = readonly string[] | ((offered: readonly string[], request: Request) => string | undefined);

/** An object of no class: what comes of `{ ... }`, `JSON.parse` and the like. A Response of some other library must not pass for claims. */
export function isPlainClaims(value: unknown): value is Claims {
  if (!isClaims(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}
