// All sessions of one worker that have a thread or a process of their own. Beside the host of the shared ones it is a second host, and
// the two look like one: a session belongs to the one that its class asks for.

import type { ClientEnd, ConnectReply, Lease, SessionCall, SessionReply } from "#mesh";
import { MeshError, messageOf, type Fence, type SessionId, type SessionKey } from "#proto";
import type { Log } from "../log.ts";
import type { MeshApplication, SessionKind } from "../session/application.ts";
import { CrashBackoff } from "../session/crash-backoff.ts";
import type { EndReason, StopReason } from "../session/end-reason.ts";
import type { ClientErrors } from "../session/failure-text.ts";
import type { SessionDescription, SessionHostControl } from "../session/host.ts";
import { EnclosedSession, type EnclosedSessionOptions } from "./enclosed-session.ts";
import type { Downfall, StartEnclosure } from "./enclosure.ts";
import { startProcess } from "./process.ts";
import { startThread } from "./thread.ts";

/** Deadlines of calls and of starts and stops are late by up to this. */
const SWEEP_MS = 250;
/** As for a shared session that ends by itself. */
const STOP_LIMIT_MS = 5_000;
/** What ends makes room at once, since it takes its leave in a moment; but not without bound, should it not. */
const PRESENT_FACTOR = 2;
/** Sessions come and go all the time; whoever found no room may find it then. */
const FULL_RETRY_MS = 1_000;

export type EnclosureClass = "thread" | "process";

export interface EnclosuresOptions {
  readonly application: MeshApplication;
  /** Path of its module: each enclosure loads it again. */
  readonly app: string;
  readonly node: string;
  readonly worker: number;
  readonly lease: Lease;
  readonly log: Log;
  readonly logFormat: "json" | "text";
  /** Default: `brief`. */
  readonly clientErrors?: ClientErrors;
  /** Live sessions at a time. */
  readonly max: Readonly<Record<EnclosureClass, number>>;
  /** For classes that name no budget of their own. */
  readonly turnBudgetMs: number;
  readonly callSession: (call: SessionCall) => SessionReply | Promise<SessionReply>;
  readonly onEnded: (id: SessionId, fence: Fence, reason: EndReason, error?: unknown) => void;
}

const starts: Readonly<Record<EnclosureClass, StartEnclosure>> = { thread: startThread, process: startProcess };

/** How to get more room, and what it costs. */
const variables: Readonly<Record<EnclosureClass, string>> = {
  thread: "MESH_THREADS_MAX",
  process: "MESH_PROCESSES_MAX",
};

export class Enclosures {
  readonly #options: EnclosuresOptions;
  readonly #sessions = new Map<SessionKey, EnclosedSession>();
  /** Those that have ended and are not gone yet, too. */
  readonly #present: Readonly<Record<EnclosureClass, Set<EnclosedSession>>> = {
    thread: new Set(),
    process: new Set(),
  };
  readonly #backoff = new CrashBackoff();
  /** From the first of them on. */
  #sweeper: NodeJS.Timeout | undefined;
  #deadline = 0;

  constructor(options: EnclosuresOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The node may act until `deadline`, on the system clock: each enclosure holds its session back by itself after that. */
  extend(deadline: number): void {
    this.#deadline = Math.max(this.#deadline, deadline);
    for (const session of this.#sessions.values()) session.extend(this.#deadline);
  }

  has(key: SessionKey): boolean {
    return this.#sessions.has(key);
  }

  sessions(): Iterable<EnclosedSession> {
    return this.#sessions.values();
  }

  /** Throws `overloaded` when the name crashed too often, or no more threads or processes may be started here. */
  activate(kind: SessionKind, id: SessionId, fence: Fence): void {
    const { isolation, heapMb, turnBudgetMs } = kind.options;
    if (isolation === "shared") throw new MeshError("internal", `${id.key} needs no enclosure`);
    this.#backoff.admit(id.key, performance.now());
    const present = this.#present[isolation];
    const max = this.#options.max[isolation];
    const live = [...present].filter((session) => !session.ended).length;
    if (live >= max || present.size >= max * PRESENT_FACTOR) throw full(id, isolation, max);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    const { app, node, worker, logFormat, clientErrors = "brief" } = this.#options;
    const session = this.#start(isolation, {
      id,
      fence,
      boot: { app, node, worker, log: logFormat, clientErrors, key: id.key, fence, deadline: this.#deadline },
      start: starts[isolation],
      limits: { heapMb, turnBudgetMs: turnBudgetMs ?? this.#options.turnBudgetMs },
      callSession: (from, call) => this.#callSession(from, call),
      onEnded: (ended, reason, error) => this.#ended(ended, reason, error),
      onDownfall: (fallen, downfall) => this.#tellDownfall(fallen.id, isolation, downfall),
      onGone: (gone) => present.delete(gone),
    });
    present.add(session);
    this.#sessions.set(id.key, session);
  }

  #start(isolation: EnclosureClass, options: EnclosedSessionOptions): EnclosedSession {
    try {
      return new EnclosedSession(options);
    } catch (cause) {
      const { key } = options.id;
      const why = `no ${isolation} could be started for ${key}: ${messageOf(cause)}`;
      throw new MeshError("overloaded", why, { session: key, retryAfterMs: FULL_RETRY_MS, cause });
    }
  }

  fetch(call: SessionCall): Promise<SessionReply> {
    return this.#sessions.get(call.id.key)?.fetch(call) ?? Promise.reject(notHere(call));
  }

  connect(call: SessionCall, client: ClientEnd): ConnectReply | Promise<ConnectReply> {
    return this.#sessions.get(call.id.key)?.connect(call, client) ?? { status: "refused", error: notHere(call) };
  }

  describe(key: SessionKey): SessionDescription | undefined {
    return this.#sessions.get(key)?.describe(this.#options.node, this.#options.worker);
  }

  async stop(key: SessionKey, reason: StopReason): Promise<void> {
    await this.#sessions.get(key)?.stop(reason, STOP_LIMIT_MS);
  }

  async stopAll(reason: StopReason, limitMs: number): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => session.stop(reason, limitMs)));
  }

  drain(): void {
    for (const session of this.#sessions.values()) session.drain();
  }

  dropAll(closeCode: number): void {
    for (const session of [...this.#present.thread, ...this.#present.process]) session.drop(closeCode);
  }

  /** Ends what is left by force. Idempotent. */
  close(): void {
    clearInterval(this.#sweeper);
    this.dropAll(1012);
  }

  async #callSession(from: EnclosedSession, call: SessionCall): Promise<SessionReply> {
    const { lease, callSession } = this.#options;
    // Checked inside as well; but what it asks leaves from here.
    if (!lease.isOpen()) await lease.whenOpen();
    if (!from.ended) return callSession(call);
    throw new MeshError("session_stopped", `${from.id.key} has ended; it can call nobody`, { session: from.id.key });
  }

  #ended({ id, fence }: EnclosedSession, reason: EndReason, error: unknown): void {
    this.#sessions.delete(id.key);
    if (reason === "crashed" || reason === "killed") this.#backoff.crashed(id.key, performance.now());
    this.#options.onEnded(id, fence, reason, error);
  }

  #tellDownfall(id: SessionId, isolation: EnclosureClass, downfall: Downfall): void {
    const { how, ...rest } = downfall;
    this.#options.log.error(`session ${how}`, { session: id.key, isolation, ...rest });
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const present of [this.#present.thread, this.#present.process]) {
      for (const session of present) session.sweep(nowMs);
    }
  }
}

/** Both hosts as one. The shared one alone when no class of the application asks for more. */
export function joinHosts(
  shared: SessionHostControl,
  enclosures: Enclosures,
  application: MeshApplication,
): SessionHostControl {
  const enclosed = new Map([...application.kinds].filter(([, kind]) => kind.options.isolation !== "shared"));
  if (enclosed.size === 0) return shared;
  return {
    get size() {
      return shared.size + enclosures.size;
    },
    stubs: shared.stubs,
    has: (key) => shared.has(key) || enclosures.has(key),
    activate: (id, fence) => {
      const kind = enclosed.get(id.kind);
      if (kind === undefined) shared.activate(id, fence);
      else enclosures.activate(kind, id, fence);
    },
    fetch: (call) => (enclosed.has(call.id.kind) ? enclosures.fetch(call) : shared.fetch(call)),
    connect: (call, client) =>
      enclosed.has(call.id.kind) ? enclosures.connect(call, client) : shared.connect(call, client),
    *sessions() {
      yield* shared.sessions();
      yield* enclosures.sessions();
    },
    refusalOf: (id, upgrade) => shared.refusalOf(id, upgrade),
    wishOf: (kind) => shared.wishOf(kind),
    stop: async (key, reason) => {
      await Promise.all([shared.stop(key, reason), enclosures.stop(key, reason)]);
    },
    stopAll: async (reason, limitMs) => {
      await Promise.all([shared.stopAll(reason, limitMs), enclosures.stopAll(reason, limitMs)]);
    },
    drain: () => {
      shared.drain();
      enclosures.drain();
    },
    dropAll: (closeCode) => {
      shared.dropAll(closeCode);
      enclosures.dropAll(closeCode);
    },
    // Only shared sessions are ended by the worker's watchdog.
    kill: (key, error) => shared.kill(key, error),
    running: () => shared.running(),
    describe: (key) => shared.describe(key) ?? enclosures.describe(key),
    close: () => {
      shared.close();
      enclosures.close();
    },
  };
}

function full(id: SessionId, isolation: EnclosureClass, max: number): MeshError {
  const why =
    max === 0
      ? `this worker starts no sessions of isolation "${isolation}"`
      : `this worker has ${max} sessions of isolation "${isolation}", which is all that it may have`;
  return new MeshError("overloaded", `${why}; raise ${variables[isolation]}, or add workers or nodes`, {
    session: id.key,
    retryAfterMs: FULL_RETRY_MS,
  });
}

function notHere(call: SessionCall): MeshError {
  return new MeshError("session_stopped", `${call.id.key} is not here any more`, { session: call.id.key });
}
