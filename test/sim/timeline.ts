// Virtual time: one queue of events for the whole mesh, and the processes that they belong to. An event runs, then every promise that
// it settled, then the next event. A stopped process keeps what arrives until it goes on; a dead one loses it. Relies on nothing real:
// no clock, no event loop.

import v8 from "node:v8";
import type { Clock } from "../../mesh/clock.ts";

// Draining microtasks by the event loop costs a turn of it for each step; V8 does it in 40 ns. The flag stays
// on: a function that was not called for long is compiled anew.
v8.setFlagsFromString("--allow-natives-syntax");
// oxlint-disable-next-line typescript/no-implied-eval
const drainMicrotasks = new Function("%PerformMicrotaskCheckpoint()") as () => void;

export class Process {
  readonly name: string;
  alive = true;
  paused = false;
  /** What came while it was stopped. */
  readonly backlog: Event[] = [];

  constructor(name: string) {
    this.name = name;
  }
}

interface Event {
  at: number;
  readonly order: number;
  readonly owner: Process | undefined;
  fn: (() => void) | undefined;
}

export class Timeline {
  /** True time in milliseconds. No process sees it. */
  now = 0;
  /** Events that ran. */
  steps = 0;
  readonly #heap: Event[] = [];
  #order = 0;

  /** Runs `fn` in `owner` (undefined: in nobody's) in `ms` of true time. Returns a cancel. */
  after(ms: number, owner: Process | undefined, fn: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, ms), order: this.#order++, owner, fn };
    if (event.at < Number.POSITIVE_INFINITY) this.#push(event);
    return () => void (event.fn = undefined);
  }

  /** Runs until `until`, or until `stop` says so after a step. MUST NOT be called from a promise: microtasks would not drain. */
  run(until: number, stop: () => boolean): void {
    drainMicrotasks();
    for (let event = this.#heap[0]; event !== undefined && event.at <= until; event = this.#heap[0]) {
      this.#pop();
      if (event.fn === undefined) continue;
      const { owner } = event;
      if (owner !== undefined && !owner.alive) continue;
      this.now = Math.max(this.now, event.at);
      if (owner?.paused === true) {
        owner.backlog.push(event);
        continue;
      }
      event.fn();
      drainMicrotasks();
      this.steps++;
      if (stop()) return;
    }
    this.now = until;
  }

  /** The process goes on: all that came meanwhile, in its order. */
  resume(process: Process): void {
    if (!process.paused) return;
    process.paused = false;
    for (const event of process.backlog.splice(0)) {
      event.at = this.now;
      this.#push({ ...event, order: this.#order++, fn: () => event.fn?.() });
    }
  }

  kill(process: Process): void {
    process.alive = false;
    process.backlog.length = 0;
  }

  /** Events that a process still waits for: what a closed thing has left behind. */
  pendingOf(process: Process): number {
    return this.#heap.filter((event) => event.owner === process && event.fn !== undefined).length;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      const right = heap[child + 1];
      if (below === undefined) break;
      if (right !== undefined && isBefore(right, below)) {
        below = right;
        child++;
      }
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** The clock of one machine as one process of it reads it: begins anywhere, and runs a little fast or slow. */
export class MachineClock implements Clock {
  readonly #timeline: Timeline;
  readonly #owner: Process;
  readonly #startMs: number;
  readonly #rate: number;

  constructor(timeline: Timeline, owner: Process, machine: { readonly startMs: number; readonly rate: number }) {
    this.#timeline = timeline;
    this.#owner = owner;
    this.#startMs = machine.startMs;
    this.#rate = machine.rate;
  }

  now(): number {
    return this.#startMs + this.#timeline.now * this.#rate;
  }

  timer(ms: number, fn: () => void): () => void {
    return this.#timeline.after(ms / this.#rate, this.#owner, fn);
  }

  /** The true time at which this clock shows `local`. */
  trueTime(local: number): number {
    return (local - this.#startMs) / this.#rate;
  }
}
