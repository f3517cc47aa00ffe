// Clients that ask for counters all the time while a test does something to the mesh, and the complete history of what they saw.

import { setTimeout as sleep } from "node:timers/promises";
import { CounterClient, type Outcome } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { seeded, type Draws } from "./seeded.ts";

/** One request and what became of it. Times are of one monotonic clock. */
export interface Asked {
  readonly session: string;
  /** The node whose gateway was asked. */
  readonly through: string;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: Outcome;
}

export interface TrafficWish {
  /** Read before every request, so that nodes may come and go. While there is none, clients wait. */
  readonly gateways: () => readonly { readonly id: string; readonly gateway: string }[];
  /** `kind/name` of sessions that count. */
  readonly sessions: readonly string[];
  readonly clients: number;
  readonly draws?: Draws;
  /** Default: for the test application. */
  readonly client?: CounterClient;
}

/** Between two requests of one client: a machine of two cores must be left able to run the mesh, too. */
const PACE_MS = 30;
/** Pause after a failure, as a polite client makes it. */
const AFTER_FAILURE_MS = 100;
/** Clients that get nothing done for so long are stuck. */
const MORE_MS = 60_000;

export class Traffic {
  readonly history: Asked[] = [];
  readonly #wish: TrafficWish;
  readonly #draws: Draws;
  readonly #client: CounterClient;
  readonly #clients: Promise<void>[];
  #stopped = false;

  constructor(wish: TrafficWish) {
    this.#wish = wish;
    this.#draws = wish.draws ?? seeded(1);
    this.#client = wish.client ?? new CounterClient();
    this.#clients = Array.from({ length: wish.clients }, () => this.#run());
  }

  /** One request outside of the clients' own choice; it is in the history as well. Never rejects. */
  async ask(session: string, through = this.#draws.pick(this.#wish.gateways())): Promise<Asked> {
    const { id, gateway } = through;
    const startedMs = performance.now();
    const outcome = await this.#client.count(gateway, `/sessions/${session}`);
    const asked = { session, through: id, startedMs, endedMs: performance.now(), outcome };
    this.history.push(asked);
    return asked;
  }

  /** Asks for the session until it counts; rejects after `limitMs`. */
  async askUntilCounted(session: string, limitMs: number): Promise<Asked> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const asked = await this.ask(session);
      if (asked.outcome.status === "counted") return asked;
      if (asked.endedMs > deadline) {
        throw new Error(`${session} does not count within ${limitMs} ms: ${JSON.stringify(asked.outcome)}`);
      }
      await sleep(AFTER_FAILURE_MS);
    }
  }

  /** Resolves when so many more requests have ended. */
  async more(requests: number): Promise<void> {
    const wanted = this.history.length + requests;
    await eventually(() => this.history.length >= wanted, MORE_MS);
  }

  /** Lets the requests under way end. */
  async stop(): Promise<readonly Asked[]> {
    this.#stopped = true;
    await Promise.all(this.#clients);
    this.#client.close();
    return this.history;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#wish.gateways().length === 0) {
        await sleep(AFTER_FAILURE_MS);
        continue;
      }
      const { outcome } = await this.ask(this.#draws.pick(this.#wish.sessions));
      await sleep(outcome.status === "counted" ? PACE_MS : AFTER_FAILURE_MS);
    }
  }
}

/** Live sessions by the process that answered for them last. */
export function hostsOf(history: readonly Asked[]): ReadonlyMap<number, readonly string[]> {
  const last = new Map<string, { readonly endedMs: number; readonly pid: number }>();
  for (const { session, endedMs, outcome } of history) {
    if (outcome.status !== "counted" || (last.get(session)?.endedMs ?? 0) > endedMs) continue;
    last.set(session, { endedMs, pid: outcome.answer.pid });
  }
  const hosts = Map.groupBy(last, ([, host]) => host.pid);
  return new Map([...hosts].map(([pid, entries]) => [pid, entries.map(([session]) => session)]));
}
