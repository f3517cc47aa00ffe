// Where sessions were last seen: a bounded map that forgets what was learned longest ago. Only a hint: a wrong entry costs one hop.

import type { SessionKey, WorkerId } from "#proto";

/** About 10 MB when full. Too small: sessions that live away from their owner cost a second hop again and again. */
export const ROUTES_MAX = 65_536;

export class RouteCache {
  readonly #routes = new Map<SessionKey, WorkerId>();
  readonly #max: number;

  constructor(max: number = ROUTES_MAX) {
    this.#max = max;
  }

  get(key: SessionKey): WorkerId | undefined {
    return this.#routes.get(key);
  }

  set(key: SessionKey, worker: WorkerId): void {
    if (this.#routes.get(key) === worker) return;
    this.#routes.delete(key);
    this.#routes.set(key, worker);
    if (this.#routes.size > this.#max) {
      const [oldest] = this.#routes.keys();
      if (oldest !== undefined) this.#routes.delete(oldest);
    }
  }

  delete(key: SessionKey): void {
    this.#routes.delete(key);
  }

  /** Forgets the routes to workers that `stays` is false for. */
  retain(stays: (worker: WorkerId) => boolean): void {
    for (const [key, worker] of this.#routes) if (!stays(worker)) this.#routes.delete(key);
  }
}
