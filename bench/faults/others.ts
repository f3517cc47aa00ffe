// The sessions that a fault should not touch: all hold state and a timer, some have a request under way or an open socket at the moment of
// the fault. Tells what they lost, by asking every one of them before and after.

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, askUntilOk, type Answer } from "./client.ts";
import { Talk } from "./talk.ts";

export const OTHERS = 1_000;
/** Names are n0, n1...: first those with sockets, then those with requests under way, then those that are asked all the time. */
const SOCKETS = 50;
const UNDER_WAY = ["promise", "timers", "immediates", "stub", "stream"] as const;
const EACH = 10;
const ASKED = 20;
/** Loops that ask. */
const PROBES = 4;
const PROBE_EVERY_MS = 5;
const CONNECTIONS = 32;
/** A request that was told to go on and has no answer by then is lost. */
const LAST_ANSWER_MS = 3_000;
/** Some of the ticks of a neighbour. */
const TIMER_LATE_MS = 500;

/** What a neighbour tells of itself. */
interface Look {
  readonly instance: string;
  readonly count: number;
  readonly ticks: number;
  readonly waiting: number;
  readonly pid: number;
  readonly stalledMs: number;
  readonly sinceTickMs: number;
  readonly changed: readonly string[];
}

export interface Harm {
  /** Sessions that began anew, or whose count is wrong. */
  readonly state: number;
  readonly requests: number;
  readonly sockets: number;
  readonly timers: number;
  /** Sessions that nothing happened in, or that did not answer, for more than the turn budget. */
  readonly stalled: number;
  /** The longest time without an answer or a tick, of any session. */
  readonly longestMs: number;
  /** What is different in the process for those who did nothing. */
  readonly changed: readonly string[];
}

export class Others {
  readonly #port: number;
  readonly #budgetMs: number;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  #before = new Map<string, Look>();
  /** Requests that count, since the last look. */
  readonly #asked = new Map<string, number>();
  pid = 0;

  constructor(port: number, budgetMs: number) {
    this.#port = port;
    this.#budgetMs = budgetMs;
  }

  /** Makes those that are not there. */
  async settle(): Promise<void> {
    this.#before = await this.#lookAtAll();
    this.#asked.clear();
  }

  async #look(name: string): Promise<Look> {
    const look = JSON.parse(await askUntilOk(this.#port, pathOf(name, "/look"), { agent: this.#agent })) as Look;
    this.pid = look.pid;
    return look;
  }

  async #lookAtAll(): Promise<Map<string, Look>> {
    const looks = new Map<string, Look>();
    const left = names(0, OTHERS).values();
    const next = async (): Promise<void> => {
      for (const name of left) looks.set(name, await this.#look(name));
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, next));
    return looks;
  }

  /** What they lost while `fault` happened. */
  async during(fault: () => Promise<void>): Promise<Harm> {
    const talk = await Talk.start(
      this.#port,
      names(0, SOCKETS).map((name) => pathOf(name)),
    );
    const underWay = await this.#startRequests();
    const probing = this.#probe();
    await fault();
    const longestMs = await probing.end();
    const requests = await underWay.end();
    const sockets = await talk.end();
    return { requests, sockets, ...(await this.#compare(longestMs)) };
  }

  async #startRequests(): Promise<{ end(): Promise<number> }> {
    const aborter = new AbortController();
    const waiting = names(SOCKETS, UNDER_WAY.length * EACH).map((name, at) => {
      const how = UNDER_WAY[at % UNDER_WAY.length] ?? "promise";
      return { name, answered: ask(this.#port, pathOf(name, `/wait/${how}`), { signal: aborter.signal }) };
    });
    for (const { name } of waiting) while ((await this.#look(name)).waiting === 0) await sleep(1);
    return {
      end: async () => {
        await Promise.all(waiting.map(({ name }) => ask(this.#port, pathOf(name, "/go"), { agent: this.#agent })));
        const timer = setTimeout(() => aborter.abort(), LAST_ANSWER_MS);
        const answers = await Promise.all(waiting.map(({ answered }) => answered));
        clearTimeout(timer);
        return answers.filter((answer: Answer | undefined) => answer?.status !== 200).length;
      },
    };
  }

  /** Asks some of them all the time. Resolves with the longest time that one had to be asked, retries included. */
  #probe(): { end(): Promise<number> } {
    let on = true;
    let longestMs = 0;
    const left = SOCKETS + UNDER_WAY.length * EACH;
    const probes = Array.from({ length: PROBES }, async (_, first) => {
      for (let at = first; on; at = (at + PROBES) % ASKED) {
        const name = `n${left + at}`;
        const sinceMs = performance.now();
        await askUntilOk(this.#port, pathOf(name, "/"));
        longestMs = Math.max(longestMs, performance.now() - sinceMs);
        this.#asked.set(name, (this.#asked.get(name) ?? 0) + 1);
        await sleep(PROBE_EVERY_MS);
      }
    });
    return {
      end: async () => {
        on = false;
        await Promise.all(probes);
        return longestMs;
      },
    };
  }

  async #compare(longestProbeMs: number): Promise<Omit<Harm, "requests" | "sockets">> {
    const now = await this.#lookAtAll();
    const all = [...now].map(([name, look]) => {
      const before = this.#before.get(name);
      const begunAnew = before?.instance !== look.instance;
      const lost = begunAnew || look.count !== before.count + (this.#asked.get(name) ?? 0);
      return { name, look, begunAnew, lost };
    });
    const late = all.filter(({ look, begunAnew }) => !begunAnew && look.sinceTickMs > TIMER_LATE_MS);
    if (late.length > 0) await sleep(TIMER_LATE_MS);
    const again = await Promise.all(late.map(async ({ name, look }) => (await this.#look(name)).ticks === look.ticks));
    const begunAnew = all.filter((one) => one.begunAnew).length;
    const stalled = all.filter((one) => !one.begunAnew && one.look.stalledMs > this.#budgetMs).length;
    const longestMs = Math.max(longestProbeMs, ...all.map((one) => (one.begunAnew ? 0 : one.look.stalledMs)));
    this.#before = now;
    this.#asked.clear();
    return {
      state: all.filter(({ lost }) => lost).length,
      timers: begunAnew + again.filter((dead) => dead).length,
      stalled: stalled + (longestProbeMs > this.#budgetMs ? begunAnew : 0),
      longestMs,
      changed: [...new Set(all.flatMap(({ look }) => look.changed))],
    };
  }

  close(): void {
    this.#agent.destroy();
  }
}

function names(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `n${first + at}`);
}

function pathOf(name: string, rest = ""): string {
  return `/sessions/neighbour/${name}${rest}`;
}
