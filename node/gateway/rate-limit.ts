// Token buckets, one for each key, in a table that cannot grow for ever. A bucket is one number: when it will be full again. Who has been
// quiet until then has no entry to keep.

import { MeshError } from "#proto";
import type { ResolvedRate } from "../session/edge-options.ts";

/** Some 100 bytes each. When there are more, whoever was quiet for longest is forgotten, and may burst again. */
const KEYS_MAX = 100_000;
const MS_PER_SECOND = 1_000;

export class RateLimit {
  readonly #intervalMs: number;
  readonly #depthMs: number;
  readonly #whose: string;
  readonly #now: () => number;
  /** Key -> when its bucket is full again. In the order of the last request. */
  readonly #fullAtMs = new Map<string, number>();

  /** @param whose names the bucket in the error: "from your address" */
  constructor({ perSecond, burst }: ResolvedRate, whose: string, now: () => number) {
    this.#intervalMs = MS_PER_SECOND / perSecond;
    this.#depthMs = this.#intervalMs * burst;
    this.#whose = whose;
    this.#now = now;
  }

  /** Takes a token. Throws `too_many_requests` with when the next one is there. */
  take(key: string): void {
    const nowMs = this.#now();
    const fullAtMs = Math.max(nowMs, this.#fullAtMs.get(key) ?? 0) + this.#intervalMs;
    const lackMs = fullAtMs - nowMs - this.#depthMs;
    // Whoever is refused takes nothing, or a client that tries on and on would never get in.
    if (lackMs > EPSILON_MS) {
      throw new MeshError("too_many_requests", `too many requests ${this.#whose}`, { retryAfterMs: lackMs });
    }
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs);
    this.#forget(nowMs);
  }

  /** Two at a time from the quiet end: the table shrinks again after a crowd. */
  #forget(nowMs: number): void {
    let looked = 0;
    for (const [key, fullAtMs] of this.#fullAtMs) {
      if (looked++ >= 2 || (fullAtMs > nowMs && this.#fullAtMs.size <= KEYS_MAX)) return;
      this.#fullAtMs.delete(key);
    }
  }
}

/** Sums of fractions of milliseconds are not exact. */
const EPSILON_MS = 1e-6;

/** One client has a whole /64 of IPv6 addresses to choose from. */
export function networkOf(ip: string): string {
  if (!ip.includes(":")) return ip;
  const [head = "", tail] = ip.split("::", 2);
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups =
    tail === undefined
      ? front
      : [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill("0"), ...back];
  return groups.slice(0, 4).join(":");
}
