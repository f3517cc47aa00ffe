// A session host with everything around it faked: clock, lease, clients, log. The web classes are the real ones.

import { SessionCall, type ClientEnd, type Clock, type SessionEnd, type SessionReply } from "#mesh";
import { parseSessionId, type MeshError, type SessionKey } from "#proto";
import { defineMesh, type SessionClass } from "sessionmesh";
import { createSessionHost, type SessionHostOptions } from "../../../node/session/host.ts";
import { installWebClasses, responseOf } from "../../../node/web/web.ts";

// As in a worker: before any application code runs.
installWebClasses();

export class FakeClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ readonly at: number; readonly fn: () => void }>();

  now(): number {
    return this.#now;
  }

  timer(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, fn };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Runs what falls due on the way, and the microtasks between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].sort((one, other) => one.at - other.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

export class FakeLease {
  #open = Promise.withResolvers<void>();
  #isOpen = true;

  isOpen(): boolean {
    return this.#isOpen;
  }

  whenOpen(): Promise<void> {
    return this.#isOpen ? Promise.resolve() : this.#open.promise;
  }

  close(): void {
    this.#isOpen = false;
    this.#open = Promise.withResolvers<void>();
  }

  open(): void {
    this.#isOpen = true;
    this.#open.resolve();
  }
}

/** A client's end of a socket, as a gateway would hold it. */
export class FakeClient implements ClientEnd {
  readonly sent: (string | Uint8Array)[] = [];
  closed: { readonly code: number; readonly reason: string } | undefined;
  buffered = 0;
  /** True: nothing reaches the kernel. */
  stuck = false;

  send(data: string | Uint8Array): void {
    if (this.closed !== undefined) return;
    this.sent.push(data);
    if (this.stuck) this.buffered += data.length;
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
}

/** Every microtask and immediate that is under way has run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

export interface Ended {
  readonly key: string;
  readonly reason: string;
  readonly error: unknown;
}

export function startHost(sessions: Record<string, SessionClass>, more: Partial<SessionHostOptions> = {}) {
  const clock = new FakeClock();
  const lease = new FakeLease();
  const ended: Ended[] = [];
  const lines: { readonly level: string; readonly message: string; readonly fields: unknown }[] = [];
  const line = (level: string) => (message: string, fields?: unknown) => void lines.push({ level, message, fields });
  let claim = 0;
  const host = createSessionHost({
    application: defineMesh({ sessions }),
    node: "n1",
    worker: 0,
    lease,
    clock,
    log: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") },
    callSession: async (call) => await send(call),
    onEnded: (id, _fence, reason, error) => void ended.push({ key: id.key, reason, error }),
    ...more,
  });

  /** Starts the session when it is not live, as the router does. */
  function start(key: string): SessionKey {
    const id = idOf(key);
    if (!host.has(id.key)) host.activate(id, { epoch: 1, claim: ++claim });
    return id.key;
  }

  function send(call: SessionCall): SessionReply | Promise<SessionReply> {
    start(call.id.key);
    return host.fetch(call);
  }

  return {
    host,
    clock,
    lease,
    ended,
    lines,
    start,
    send,
    /** The text of the answer. */
    async get(key: string, path = "/"): Promise<string> {
      return responseOf(await send(callTo(key, { path }))).text();
    },
    /** The error of a request that fails. */
    async failure(key: string, path = "/"): Promise<MeshError> {
      try {
        await send(callTo(key, { path }));
      } catch (error) {
        return error as MeshError;
      }
      throw new Error(`${key}${path} was answered`);
    },
    /** Its code. */
    async code(key: string, path = "/"): Promise<string> {
      try {
        await send(callTo(key, { path }));
        return "answered";
      } catch (error) {
        return (error as MeshError).code;
      }
    },
    async connect(key: string): Promise<{ readonly client: FakeClient; readonly end: SessionEnd }> {
      start(key);
      const client = new FakeClient();
      const reply = await host.connect(callTo(key, { path: "/socket" }), client);
      if (reply.status === "refused") throw reply.error;
      if (reply.status === "answered") throw new Error(`answered with ${reply.reply.status}`);
      await settle();
      return { client, end: reply.end };
    },
  };
}

export function idOf(key: string) {
  const [kind = "", name = ""] = key.split("/", 2);
  return parseSessionId(kind, name);
}

interface CallParts {
  readonly path?: string;
  readonly method?: string;
  readonly body?: Uint8Array | ReadableStream<Uint8Array>;
  readonly timeoutMs?: number;
}

export function callTo(key: string, parts: CallParts = {}): SessionCall {
  return new SessionCall({
    id: idOf(key),
    method: parts.method ?? (parts.body === undefined ? "GET" : "POST"),
    url: `http://mesh${parts.path ?? "/"}`,
    headers: [],
    body: parts.body ?? null,
    timeoutMs: parts.timeoutMs ?? 60_000,
  });
}

/** What a promise or thrown error of the mesh says. */
export async function codeOf(answer: unknown): Promise<string> {
  try {
    await answer;
    return "answered";
  } catch (error) {
    return (error as MeshError).code;
  }
}
