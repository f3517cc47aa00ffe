// What an application says about clients before it comes to sessions: which web pages may ask, and how often one may. Types, defaults, and
// the check that runs when the application is loaded.

import { MeshError } from "#proto";
import { OriginList } from "./origin-list.ts";

/** Pages of other sites that may read answers. */
export interface CorsOptions {
  /** Origins as browsers send them, `https://*.example.com`, `self`; or "*" for every page. */
  readonly origins: "*" | readonly string[];
  /** Methods that pages may use; GET, HEAD, POST, PUT, PATCH and DELETE by default. */
  readonly methods?: readonly string[];
  /** Request headers that pages may set; whichever they ask for by default. */
  readonly headers?: readonly string[];
  /** Response headers that pages may read besides the few that they always may; none by default. */
  readonly exposeHeaders?: readonly string[];
  /** Pages may send cookies and the like; false by default. Needs a list of origins. */
  readonly credentials?: boolean;
  /** For how long a browser need not ask again, 600 by default. Browsers have limits of their own. */
  readonly maxAgeSeconds?: number;
}

/** A token bucket. */
export interface Rate {
  /** Requests and WebSocket handshakes, on average; more than 0. */
  readonly perSecond: number;
  /** So many may come at once after a pause; `perSecond` by default, and at least 1. */
  readonly burst?: number;
}

/** Counted by each worker for the clients that it took, so several workers let through as many times more. */
export interface RateOptions {
  /** Of one client's address; of an IPv6 client, its /64 network. Unlimited by default. */
  readonly perAddress?: Rate;
  /** To one session, whoever asks. Unlimited by default. */
  readonly perSession?: Rate;
}

/** What `defineMesh` may be told about clients before they come to a session; each is optional. */
export interface EdgeOptions {
  /**
   * Origins of pages that may open WebSockets; every page by default. Others get 403. Clients that send no `Origin`, which are no
   * browsers, may always. MESH_ALLOWED_ORIGINS takes its place.
   */
  readonly origins?: readonly string[];
  /** Answers browsers that ask whether a page of another site may send a request, and says so in every answer. Not at all by default. */
  readonly cors?: CorsOptions | true;
  readonly rates?: RateOptions;
}

export interface ResolvedRate {
  readonly perSecond: number;
  readonly burst: number;
}

export interface ResolvedCors {
  /** Undefined: every page. */
  readonly origins: OriginList | undefined;
  readonly methods: string;
  readonly headers: string | undefined;
  readonly exposeHeaders: string | undefined;
  readonly credentials: boolean;
  readonly maxAge: string;
}

export interface ResolvedEdge {
  /** Undefined: every page. */
  readonly origins: OriginList | undefined;
  readonly cors: ResolvedCors | undefined;
  readonly perAddress: ResolvedRate | undefined;
  readonly perSession: ResolvedRate | undefined;
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Throws `bad_app` with what to change. */
export function resolveEdge({ origins, cors, rates }: Readonly<Record<keyof EdgeOptions, unknown>>): ResolvedEdge {
  const { perAddress, perSession } = fields(rates ?? {}, "rates", ["perAddress", "perSession"]);
  return {
    origins: origins === undefined ? undefined : new OriginList(listAt(origins, "origins"), "defineMesh: origins"),
    cors: cors === undefined ? undefined : resolveCors(cors === true ? { origins: "*" } : cors),
    perAddress: resolveRate(perAddress, "rates.perAddress"),
    perSession: resolveRate(perSession, "rates.perSession"),
  };
}

function resolveCors(given: unknown): ResolvedCors {
  const names = ["origins", "methods", "headers", "exposeHeaders", "credentials", "maxAgeSeconds"] as const;
  const {
    origins,
    methods,
    headers,
    exposeHeaders,
    credentials = false,
    maxAgeSeconds = 600,
  } = fields(given, "cors", names);
  if (typeof credentials !== "boolean") throw bad("cors.credentials must be true or false");
  if (origins === "*" && credentials) {
    throw bad('cors.credentials needs a list of cors.origins: with "*" any page could act in the name of its visitor');
  }
  if (typeof maxAgeSeconds !== "number" || !Number.isInteger(maxAgeSeconds) || maxAgeSeconds < 0) {
    throw bad("cors.maxAgeSeconds must be a whole number of seconds, 0 or more");
  }
  return {
    origins: origins === "*" ? undefined : new OriginList(listAt(origins, "cors.origins"), "defineMesh: cors.origins"),
    methods: tokens(methods, "cors.methods") ?? METHODS.join(", "),
    headers: tokens(headers, "cors.headers"),
    exposeHeaders: tokens(exposeHeaders, "cors.exposeHeaders"),
    credentials,
    maxAge: String(maxAgeSeconds),
  };
}

function resolveRate(given: unknown, path: string): ResolvedRate | undefined {
  if (given === undefined) return undefined;
  const { perSecond, burst } = fields(given, path, ["perSecond", "burst"]);
  if (!isPositive(perSecond)) throw bad(`${path}.perSecond must be a number above 0`);
  if (burst === undefined) return { perSecond, burst: Math.max(1, perSecond) };
  if (!isPositive(burst) || burst < 1) throw bad(`${path}.burst must be a number, 1 or more`);
  return { perSecond, burst };
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

function tokens(given: unknown, path: string): string | undefined {
  if (given === undefined) return undefined;
  const list = listAt(given, path);
  for (const entry of list) {
    if (typeof entry !== "string" || !TOKEN.test(entry)) throw bad(`${path} must list names, such as "x-request-id"`);
  }
  return list.join(", ");
}

function listAt(given: unknown, path: string): readonly unknown[] {
  if (Array.isArray(given)) return given;
  throw bad(`${path} must be a list of strings`);
}

function fields<Name extends string>(
  given: unknown,
  path: string,
  names: readonly Name[],
): Partial<Record<Name, unknown>> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw bad(`${path} must be an object`);
  const found: Partial<Record<Name, unknown>> = {};
  for (const [name, value] of Object.entries(given)) {
    const known = names.find((one) => one === name);
    if (known === undefined) throw bad(`${path} has no "${name}"; it may have ${names.join(", ")}`);
    found[known] = value;
  }
  return found;
}

function bad(message: string): MeshError {
  return new MeshError("bad_app", `defineMesh: ${message}`);
}
