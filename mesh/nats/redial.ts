// When a server that could not be reached is dialed again: after a pause on the monotonic clock. The NATS client by itself goes by the date
// of its last attempt, and a clock that is set back by an hour would keep a node away for that hour.

/** Between two attempts at one server: short beside a lease, long beside what an attempt costs a server that starts. */
const PAUSE_MS = 250;
/** On top, drawn each time. Without it all nodes come back in the same moment. */
const JITTER_MS = 250;

export class Redial {
  readonly #clocks: { now(): number; draw(): number };
  /** By address, of the servers that are known. */
  readonly #dueMs = new Map<string, number>();

  constructor(clocks: { now(): number; draw(): number } = { now: () => performance.now(), draw: Math.random }) {
    this.#clocks = clocks;
  }

  /** How long to wait before `server` is dialed now. `known` are all the addresses that there are. */
  delay(server: string, known: readonly string[]): number {
    const { now, draw } = this.#clocks;
    for (const address of this.#dueMs.keys()) if (!known.includes(address)) this.#dueMs.delete(address);
    const delayMs = Math.max(0, (this.#dueMs.get(server) ?? 0) - now());
    this.#dueMs.set(server, now() + delayMs + PAUSE_MS + draw() * JITTER_MS);
    return delayMs;
  }
}
