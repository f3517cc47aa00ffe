// What the default export of an application module is: its session kinds, checked, and its own request router if it has one.

import { MeshError, isKind } from "#proto";
import type { Authorize, BeforeHook, KindHooks } from "./admission.ts";
import { slipOf, type CheckedClass } from "./checked-class.ts";
import { resolveEdge, type EdgeOptions, type ResolvedEdge } from "./edge-options.ts";
import { resolveOptions, type ResolvedOptions } from "./options.ts";
import { markCopy, otherCopy } from "./package-copy.ts";
import { SessionServer, type SessionClass } from "./server.ts";
import type { MeshSessions } from "./stub.ts";

export interface SessionKind {
  readonly name: string;
  readonly server: SessionClass;
  readonly options: ResolvedOptions;
  /** Its class has `fetch`. */
  readonly answers: boolean;
  /** Its class has `onConnect` or `onMessage`. */
  readonly takesSockets: boolean;
  readonly hooks: KindHooks;
}

/** What an application's own `fetch` gets besides the request. */
export interface ApplicationMesh extends MeshSessions {
  /**
   * The built-in routing, as if the application had no `fetch`: `/sessions/:kind/:name/...` and the rest. Errors are Responses
   * with problem details; it rejects only when the request was aborted.
   */
  route(request: Request): Promise<Response>;
}

/** Sees every request: `return mesh.session("cart", id).fetch(request)` picks the session, `return mesh.route(request)` leaves it to the path. */
export type ApplicationFetch = (request: Request, mesh: ApplicationMesh) => Response | Promise<Response>;

/** What `defineMesh` takes. */
export interface MeshDefinition extends EdgeOptions {
  /** Kind -> class. A kind stands in URLs: 1 to 64 of a-z, 0-9, "-" and "_", beginning with a letter. */
  readonly sessions: Readonly<Record<string, SessionClass>>;
  /** Sees every request in place of the routing by path. */
  readonly fetch?: ApplicationFetch;
  /**
   * Judges every request for a session before anything of it is touched: HTTP and WebSocket, `/sessions/...` and `/parties/...`, `POST
   * /sessions/:kind`, and `mesh.route`. Not what the application's own `fetch` sends through a stub: that code judges for itself.
   */
  readonly authorize?: Authorize;
}

/** The sessions of a definition, each class without a fault that the compiler can see. */
interface CheckedSessions<Sessions> {
  readonly sessions: { readonly [Kind in keyof Sessions]: CheckedClass<Sessions[Kind]> };
}

/** Made by `defineMesh` only. */
export class MeshApplication {
  readonly kinds: ReadonlyMap<string, SessionKind>;
  readonly fetch: ApplicationFetch | undefined;
  readonly authorize: Authorize | undefined;
  readonly edge: ResolvedEdge;
  readonly #kindOfClass: ReadonlyMap<SessionClass, string>;
  /** The one asked for last: nearly always the next one, too, and cheaper to compare than to look up. */
  #last: SessionKind | undefined;

  constructor(
    kinds: ReadonlyMap<string, SessionKind>,
    { fetch, authorize }: Pick<MeshDefinition, "fetch" | "authorize">,
    edge: ResolvedEdge,
  ) {
    this.edge = edge;
    this.kinds = kinds;
    this.fetch = fetch;
    this.authorize = authorize;
    this.#kindOfClass = new Map([...kinds.values()].map((kind) => [kind.server, kind.name]));
  }

  /** Throws `unknown_kind`. */
  kind(name: string): SessionKind {
    if (this.#last?.name === name) return this.#last;
    const kind = this.kinds.get(name);
    if (kind === undefined) {
      const known = [...this.kinds.keys()].join(", ");
      throw new MeshError(
        "unknown_kind",
        `the application has no session kind "${name.slice(0, 80)}"; it has ${known}`,
      );
    }
    return (this.#last = kind);
  }

  /** Throws `unknown_kind`. */
  hooksOf(name: string): KindHooks {
    return this.kind(name).hooks;
  }

  /** The kind of a class, or the kind itself when it exists. Throws `unknown_kind`. */
  kindOf(kind: string | SessionClass): string {
    if (typeof kind === "string") return this.kind(kind).name;
    const name = this.#kindOfClass.get(kind);
    if (name !== undefined) return name;
    throw new MeshError("unknown_kind", `class ${kind.name} is not among the sessions of this application`);
  }
}

for (const ours of [MeshApplication, SessionServer]) markCopy(ours);

/** Throws `bad_app` with what to change. */
export function defineMesh<Sessions extends MeshDefinition["sessions"]>(
  definition: MeshDefinition & CheckedSessions<Sessions>,
): MeshApplication {
  const { sessions, fetch, authorize, origins, cors, rates, ...others } = fieldsOf(definition);
  for (const name of Object.keys(others))
    throw bad(`defineMesh takes { sessions, fetch, authorize, origins, cors, rates }; it knows no "${name}"`);
  if (fetch !== undefined && typeof fetch !== "function")
    throw bad("defineMesh: fetch must be a function (request, mesh) => Response");
  if (authorize !== undefined && typeof authorize !== "function")
    throw bad("defineMesh: authorize must be a function ({ kind, name, request, ip }) => void or Response");
  const kinds = new Map<string, SessionKind>();
  for (const [name, server] of Object.entries(fieldsOf(sessions))) {
    if (!isKind(name)) {
      throw bad(`"${name}" is not a session kind: use 1 to 64 of a-z, 0-9, "-" and "_", beginning with a letter`);
    }
    if (!isSessionClass(server)) {
      throw bad(
        `sessions.${name} must be a class that extends SessionServer, not ${otherCopy(server) === undefined ? shown(server) : `one of ${otherCopy(server)}`}`,
      );
    }
    for (const [other, kind] of kinds) {
      if (kind.server === server)
        throw bad(`sessions.${name} and sessions.${other} are the same class; extend it once for each kind`);
    }
    const slip = slipOf(server, SessionServer);
    if (slip !== undefined) throw bad(`class ${server.name}: ${slip}`);
    const { fetch: answer, onConnect, onMessage } = server.prototype;
    kinds.set(name, {
      name,
      server,
      options: resolveOptions(server.name, server.options),
      answers: answer !== undefined,
      takesSockets: onConnect !== undefined || onMessage !== undefined,
      hooks: hooksOf(server),
    });
  }
  if (kinds.size === 0) throw bad("defineMesh: sessions must name at least one kind, for example { counter: Counter }");
  return new MeshApplication(kinds, definition, resolveEdge({ origins, cors, rates }));
}

/** Bound to their class, which may keep what they need in statics. */
function hooksOf(server: SessionClass & { readonly name: string }): KindHooks {
  const hook = (name: "onBeforeRequest" | "onBeforeConnect"): BeforeHook | undefined => {
    if (server[name] === undefined) return undefined;
    if (typeof server[name] !== "function")
      throw bad(`${server.name}.${name} must be a static method (request, lobby)`);
    return (request, lobby) => server[name]?.(request, lobby);
  };
  const { protocols } = server;
  if (protocols !== undefined && typeof protocols !== "function" && !isProtocolList(protocols)) {
    throw bad(`${server.name}.protocols must list names such as "chat.v2", or be a static method (offered, request)`);
  }
  return {
    onBeforeRequest: hook("onBeforeRequest"),
    onBeforeConnect: hook("onBeforeConnect"),
    protocols:
      typeof protocols === "function" ? (offered, request) => protocols.call(server, offered, request) : protocols,
  };
}

function isProtocolList(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((entry) => typeof entry === "string" && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(entry))
  );
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return Object.fromEntries(Object.entries(value));
  throw bad("defineMesh takes { sessions: { kind: Class } }");
}

function isSessionClass(
  value: unknown,
): value is SessionClass & { readonly name: string; readonly prototype: SessionServer } {
  return typeof value === "function" && value.prototype instanceof SessionServer;
}

function shown(value: unknown): string {
  if (typeof value === "function") return value.name === "" ? "a function" : value.name;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

function bad(message: string): MeshError {
  return new MeshError("bad_app", message);
}
