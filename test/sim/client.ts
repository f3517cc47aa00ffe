// The clients: requests from random gateways to random names, each with a number of its own, and whatever became of them. Each must come
// to an end while its gateway lives.

import { MeshError, parseSessionKey, type SessionId } from "#proto";
import { SessionCall } from "../../mesh/call.ts";
import type { Simulation } from "./simulation.ts";
import type { SimWorker } from "./worker.ts";

const CALL_TIMEOUT_MS = 8_000;
/** More than the router's patience, the time limit of a call and its grace together. */
export const SETTLED_BY_MS = 40_000;

export class Clients {
  readonly #sim: Simulation;
  readonly #names: readonly SessionId[];
  readonly #open = new Map<string, { readonly worker: SimWorker; readonly since: number }>();
  readonly failures = new Map<string, number>();
  #requests = 0;

  constructor(sim: Simulation, names: number) {
    this.#sim = sim;
    this.#names = Array.from({ length: names }, (_, at) => parseSessionKey(`${at % 2 === 1 ? "wide" : "room"}/${at}`));
  }

  get names(): readonly SessionId[] {
    return this.#names;
  }

  /** One request every so often, until `until`. */
  keepAsking(everyMs: number, until: number): void {
    const { timeline, random } = this.#sim;
    timeline.after(random.next() * 2 * everyMs, undefined, () => {
      if (timeline.now >= until) return;
      const worker = this.#sim.anyGateway();
      if (worker !== undefined) {
        const id = random.pick(this.#names);
        const onlyIfActive = random.chance(0.1);
        // A gateway that is stopped takes it when it goes on.
        timeline.after(0, worker.process, () => void this.request(worker, id, onlyIfActive));
      }
      this.keepAsking(everyMs, until);
    });
  }

  /** "ok" or the code of the error. Never rejects, and never settles when the gateway dies. */
  async request(worker: SimWorker, id: SessionId, onlyIfActive: boolean): Promise<string> {
    const { timeline, checker } = this.#sim;
    const name = `q${++this.#requests}`;
    const call = new SessionCall({
      id,
      method: "POST",
      url: name,
      headers: [],
      timeoutMs: CALL_TIMEOUT_MS,
      onlyIfActive,
    });
    this.#open.set(name, { worker, since: timeline.now });
    try {
      await worker.router.route(call);
      return "ok";
    } catch (error) {
      const { code } = MeshError.from(error);
      checker.counts.failures++;
      this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
      if (code === "internal") checker.fail(0, `request ${name} for ${id.key} failed: ${String(error)}`);
      return code;
    } finally {
      this.#open.delete(name);
    }
  }

  /** Requests that still may be answered. */
  get underWay(): boolean {
    return [...this.#open.values()].some(({ worker }) => worker.process.alive && !worker.closed);
  }

  /** What should have been answered by now, at a gateway that lives and was never stopped. */
  overdue(): string | undefined {
    for (const [name, { worker, since }] of this.#open) {
      const lives = worker.process.alive && !worker.closed;
      if (lives && this.#sim.timeline.now - since > SETTLED_BY_MS) return `${name} at ${worker.id}`;
    }
    return undefined;
  }
}
