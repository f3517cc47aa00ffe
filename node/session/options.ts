// The static options of a session class: types, defaults, and the check that runs when the application is loaded.

import { MeshError } from "#proto";
import { defaultWish, type PlacementWish } from "#placement";

export type Isolation = "shared" | "thread" | "process";

/** What a class may say in `static options`; each is optional. */
export interface SessionOptions {
  /**
   * Without request, socket, `waitUntil` or pending timer for so long, the session stops; 60,000 by default. Too small: state is
   * lost between two clicks. 0: stops as soon as it is idle. Infinity: stays until it is destroyed, drained or crashes.
   */
  readonly idleMs?: number;
  /**
   * What holds one session server. `shared`, the default: an object in a worker, for millions. `thread`: a thread of its own, whose
   * long computations delay nobody. `process`: a process of its own, which even a native crash or the end of its memory loses alone.
   * See docs/isolation.md for what each costs.
   */
  readonly isolation?: Isolation;
  /**
   * MB of JavaScript heap, 256 by default, 16 or more; for `thread` and `process`. A session that needs more is ended by force. Too
   * large: what a worker's sessions may take together passes what the machine has.
   */
  readonly heapMb?: number;
  /**
   * Milliseconds that one turn may take, 50 or more; for `thread` and `process`, by default MESH_TURN_BUDGET_MS. Longer turns delay only
   * the session's own clients.
   */
  readonly turnBudgetMs?: number;
  /**
   * What an error costs that escapes from `fetch` (the body of its answer included), `onConnect`, `onMessage` or `onClose`. `event`, the
   * default: that one request gets 500, that one socket closes with 1011, `onError` hears of it, and the session goes on with the state it has by
   * then. `session`: the session ends, and the next request starts a fresh one; for classes whose state must not be half changed. Errors
   * that belong to no event (timers, `waitUntil`, rejections that nobody awaits, `onStart`) end the session either way.
   */
  readonly uncaught?: "event" | "session";
  /** Where `ctx.storage` keeps its data. Only `none` so far. */
  readonly storage?: "none";
  /** `serial`: an event waits until the promise of the one before has settled. `interleaved`, the default: events run between the awaits of others. */
  readonly turns?: "interleaved" | "serial";
  /** What happens to open sockets when the session stops. Only `close` so far. */
  readonly sockets?: "close";
  /** Open sockets of one session, 10,000 by default; more are refused with `overloaded`. Each costs about 10 kB. */
  readonly maxSockets?: number;
  /** Bytes of a request body, 32 MiB by default, or Infinity; reading more fails with `body_too_large`. */
  readonly maxBodyBytes?: number;
  /** Bytes of one socket message, 1 MiB by default; a larger one closes its socket with 1009. */
  readonly maxMessageBytes?: number;
  /**
   * Compress messages of 1 KiB and more for clients that offer permessage-deflate, and take compressed ones; false by default. Costs the
   * worker some 50 us a message and a few hundred kilobytes while one is being compressed. `maxMessageBytes` holds for what comes out.
   */
  readonly compress?: boolean;
  /** Bytes waiting for one client, 4 MiB by default; a client that reads more slowly is closed with 1013. Each socket may cost that much memory. */
  readonly maxBufferedBytes?: number;
  /** From request to the head of its response, 30,000 by default, or Infinity; then the client gets 504 and `request.signal` is aborted. */
  readonly requestTimeoutMs?: number;
  readonly placement?: {
    /** The node must carry all of these labels. */
    readonly labels?: Readonly<Record<string, string>>;
    /** `owner-first`, the default: where routing is cheapest. `spread`: on the less loaded of two workers drawn at random. */
    readonly policy?: "owner-first" | "spread";
  };
}

/** Options as a class has them that was written without `as const`: its words are any strings to the compiler. */
export type WrittenOptions = Widened<SessionOptions>;

type Widened<Value> = Value extends string
  ? string
  : Value extends object
    ? { readonly [Key in keyof Value]: Widened<Value[Key]> }
    : Value;

/** The options of a class with every default filled in. */
export interface ResolvedOptions {
  readonly isolation: Isolation;
  readonly heapMb: number;
  /** Undefined: the node's. */
  readonly turnBudgetMs: number | undefined;
  readonly idleMs: number;
  readonly serial: boolean;
  /** An error of one event ends the session. */
  readonly crashes: boolean;
  readonly maxSockets: number;
  readonly maxBodyBytes: number;
  readonly maxMessageBytes: number;
  readonly compress: boolean;
  readonly maxBufferedBytes: number;
  readonly requestTimeoutMs: number;
  readonly placement: PlacementWish;
}

const NAMES = [
  "idleMs",
  "isolation",
  "heapMb",
  "turnBudgetMs",
  "storage",
  "uncaught",
  "turns",
  "sockets",
  "maxSockets",
  "maxBodyBytes",
  "maxMessageBytes",
  "compress",
  "maxBufferedBytes",
  "requestTimeoutMs",
  "placement",
] as const satisfies readonly (keyof SessionOptions)[];

/** Throws `bad_app` naming the class, the option and what is allowed. */
export function resolveOptions(className: string, given: unknown): ResolvedOptions {
  const options = given === undefined ? {} : fieldsOf(given, `${className}.options`);
  refuseUnknown(options, NAMES, `${className}.options`);
  const number = (name: keyof SessionOptions, fallback: number, least: number, unit: string): number => {
    const value = options[name];
    if (value === undefined) return fallback;
    if (typeof value === "number" && value >= least) return value;
    throw bad(
      `${className}.options.${name} must be a number of ${unit}, ${least} or more (Infinity is allowed), not ${shown(value)}`,
    );
  };
  const choice = <T extends string>(
    name: keyof SessionOptions,
    allowed: readonly [T, ...T[]],
    later: readonly string[] = [],
  ): T => {
    const value = options[name];
    if (value === undefined) return allowed[0];
    const found = allowed.find((entry) => entry === value);
    if (found !== undefined) return found;
    const words = allowed.map((entry) => `"${entry}"`).join(" or ");
    const soon =
      typeof value === "string" && later.includes(value) ? `; "${value}" is not available in this version` : "";
    throw bad(`${className}.options.${name} must be ${words}, not ${shown(value)}${soon}`);
  };
  const flag = (name: keyof SessionOptions): boolean => {
    const value = options[name] ?? false;
    if (typeof value === "boolean") return value;
    throw bad(`${className}.options.${name} must be true or false, not ${shown(value)}`);
  };
  const isolation = choice("isolation", ["shared", "thread", "process"]);
  const bound = (name: "heapMb" | "turnBudgetMs", least: number, most: number, unit: string): number | undefined => {
    const value = options[name];
    if (value === undefined) return undefined;
    const path = `${className}.options.${name}`;
    if (isolation === "shared") {
      throw bad(`${path} needs isolation: "thread" or "process"; the bounds of shared sessions are their node's`);
    }
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    throw bad(`${path} must be a whole number of ${unit}, ${least} to ${most}, not ${shown(value)}`);
  };
  choice("storage", ["none"], ["memory", "redis"]);
  choice("sockets", ["close"], ["hold"]);
  return {
    isolation,
    heapMb: bound("heapMb", 16, 65_536, "MB") ?? 256,
    turnBudgetMs: bound("turnBudgetMs", 50, 3_600_000, "milliseconds"),
    idleMs: number("idleMs", 60_000, 0, "milliseconds"),
    crashes: choice("uncaught", ["event", "session"]) === "session",
    serial: choice("turns", ["interleaved", "serial"]) === "serial",
    maxSockets: number("maxSockets", 10_000, 0, "sockets"),
    maxBodyBytes: number("maxBodyBytes", 32 * 1024 * 1024, 0, "bytes"),
    maxMessageBytes: number("maxMessageBytes", 1024 * 1024, 1, "bytes"),
    compress: flag("compress"),
    maxBufferedBytes: number("maxBufferedBytes", 4 * 1024 * 1024, 1, "bytes"),
    requestTimeoutMs: number("requestTimeoutMs", 30_000, 1, "milliseconds"),
    placement: placementOf(className, options["placement"]),
  };
}

function placementOf(className: string, given: unknown): PlacementWish {
  if (given === undefined) return defaultWish;
  const path = `${className}.options.placement`;
  const placement = fieldsOf(given, path);
  refuseUnknown(placement, ["labels", "policy"], path);
  const { policy } = placement;
  if (policy !== undefined && policy !== "owner-first" && policy !== "spread") {
    throw bad(`${path}.policy must be "owner-first" or "spread", not ${shown(policy)}`);
  }
  const labels: Record<string, string> = {};
  for (const [key, value] of Object.entries(fieldsOf(placement["labels"] ?? {}, `${path}.labels`))) {
    if (typeof value !== "string") throw bad(`${path}.labels.${key} must be a string, not ${shown(value)}`);
    labels[key] = value;
  }
  return { policy: policy ?? defaultWish.policy, labels };
}

function refuseUnknown(fields: object, allowed: readonly string[], path: string): void {
  for (const name of Object.keys(fields)) {
    if (!allowed.includes(name)) throw bad(`${path} has no "${name}"; it may have ${allowed.join(", ")}`);
  }
}

function fieldsOf(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(`${path} must be an object, not ${shown(value)}`);
  }
  return Object.fromEntries(Object.entries(value));
}

function shown(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  return typeof value === "object" && value !== null ? (Array.isArray(value) ? "a list" : "an object") : String(value);
}

function bad(message: string): MeshError {
  return new MeshError("bad_app", message);
}
