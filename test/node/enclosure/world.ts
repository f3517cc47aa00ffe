// One worker's hosts with real threads and processes behind them: what a router sees, and a lease that the test moves on.

import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { systemClock, type SessionCall, type SessionEnd, type SessionReply } from "#mesh";
import { MeshError, parseSessionKey, type SessionKey } from "#proto";
import { Enclosures, joinHosts, type EnclosuresOptions } from "../../../node/enclosure/enclosures.ts";
import { createSessionHost, type SessionHostControl } from "../../../node/session/host.ts";
import { responseOf } from "../../../node/web/web.ts";
import { WorkerLease } from "../../../node/worker/worker-lease.ts";
import { FakeClient, callTo } from "../session/harness.ts";
import application from "./enclosure-app.ts";

export { FakeClient, callTo, codeOf } from "../session/harness.ts";

/** The lease is renewed at this pace, for so long each time. */
const RENEW_MS = 50;
const LEASE_MS = 400;
/** What a busy machine needs for what takes 20 ms. */
const PATIENCE_MS = 8_000;

export interface Ended {
  readonly key: string;
  readonly reason: string;
  readonly error: unknown;
}

/** Resolves when `condition` holds. */
export async function eventually(condition: () => unknown): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${PATIENCE_MS} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

export class World {
  readonly ended: Ended[] = [];
  readonly lines: string[] = [];
  readonly host: SessionHostControl;
  readonly #enclosures: Enclosures;
  readonly #lease = new WorkerLease();
  #claim = 0;
  #renewal: NodeJS.Timeout | undefined;

  /** Closes with the test. */
  static open(more: Partial<EnclosuresOptions> = {}): World {
    const world = new World(more);
    world.resume();
    onTestFinished(() => {
      clearInterval(world.#renewal);
      world.host.close();
    });
    return world;
  }

  private constructor(more: Partial<EnclosuresOptions>) {
    const line = (message: string, fields?: object) => void this.lines.push(`${message} ${JSON.stringify(fields)}`);
    const hosting = {
      application,
      node: "n1",
      worker: 0,
      lease: this.#lease,
      log: { debug: line, info: line, warn: line, error: line },
      callSession: (call: SessionCall) => this.send(call),
      onEnded: ({ key }: { key: SessionKey }, _fence: unknown, reason: string, error?: unknown) =>
        void this.ended.push({ key, reason, error }),
    };
    this.#enclosures = new Enclosures({
      ...hosting,
      app: fileURLToPath(new URL("enclosure-app.ts", import.meta.url)),
      logFormat: "text",
      max: { thread: 4, process: 4 },
      turnBudgetMs: 1_000,
      ...more,
    });
    this.host = joinHosts(createSessionHost(hosting), this.#enclosures, application);
  }

  /** The node may act, again or for the first time. */
  resume(): void {
    this.#renew();
    this.#renewal = setInterval(() => this.#renew(), RENEW_MS);
  }

  /** Resolves when the node may not act any more. */
  async suspend(): Promise<void> {
    clearInterval(this.#renewal);
    await eventually(() => !this.#lease.isOpen());
    // Elsewhere too: the system clock is read in steps of 10 ms, at other moments in each thread and process.
    await sleep(50);
  }

  #renew(): void {
    const deadline = systemClock.now() + LEASE_MS;
    this.#lease.extend(deadline);
    this.#enclosures.extend(deadline);
  }

  start(key: string): void {
    const id = parseSessionKey(key);
    if (!this.host.has(id.key)) this.host.activate(id, { epoch: 1, claim: ++this.#claim });
  }

  /** As a router does it: a session that stopped before it looked at the request is started again. */
  async send(call: SessionCall): Promise<SessionReply> {
    for (let tries = 0; ; tries++) {
      if (!call.onlyIfActive) this.start(call.id.key);
      else if (!this.host.has(call.id.key)) throw new MeshError("not_active", `${call.id.key} is not active`);
      try {
        return await this.host.fetch(call);
      } catch (error) {
        if (!(error instanceof MeshError) || error.code !== "session_stopped" || tries === 5) throw error;
      }
    }
  }

  async fetch(key: string, parts: Parameters<typeof callTo>[1] = {}): Promise<Response> {
    return responseOf(await this.send(callTo(key, parts)));
  }

  async text(key: string, path = "/"): Promise<string> {
    return (await this.fetch(key, { path })).text();
  }

  async json(key: string, path = "/"): Promise<Record<string, unknown>> {
    return JSON.parse(await this.text(key, path)) as Record<string, unknown>;
  }

  /** A call to a session that lives. */
  async started(key: string, path: string): Promise<SessionCall> {
    await this.text(key);
    return callTo(key, { path });
  }

  /** The error of a request that fails. */
  async error(key: string, path: string): Promise<MeshError> {
    try {
      await this.send(callTo(key, { path }));
    } catch (error) {
      return MeshError.from(error);
    }
    throw new Error(`${key}${path} was answered`);
  }

  async connect(key: string, path = "/socket"): Promise<{ readonly client: FakeClient; readonly end: SessionEnd }> {
    this.start(key);
    const client = new FakeClient();
    const reply = await this.host.connect(callTo(key, { path }), client);
    if (reply.status === "refused") throw reply.error;
    if (reply.status === "answered") throw new Error(`answered with ${reply.reply.status}`);
    await eventually(() => client.sent.length > 0);
    return { client, end: reply.end };
  }

  reasons(key: string): string[] {
    return this.ended.filter((ended) => ended.key === key).map((ended) => ended.reason);
  }
}

/** Not one of ours any more. */
export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}
