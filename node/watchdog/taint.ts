// When a worker has ended so many sessions by force that it should not be trusted for long: each of them may have left something half
// done in what all sessions share.

/** A worker with more kills than this within the window is tainted. Too small: one bad name recycles workers all day. */
const KILLS_MAX = 10;
const WINDOW_MS = 60_000;

export class Taint {
  /** Times of the last kills, oldest first. At most KILLS_MAX + 1. */
  readonly #times: number[] = [];

  /** True from the kill on that was one too many. */
  killed(nowMs: number): boolean {
    this.#times.push(nowMs);
    if (this.#times.length <= KILLS_MAX) return false;
    if (this.#times.length > KILLS_MAX + 1) this.#times.shift();
    return nowMs - (this.#times[0] ?? nowMs) <= WINDOW_MS;
  }
}
