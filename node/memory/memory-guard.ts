// Keeps a worker from the end of its memory. Below the mark it reads two numbers four times a second. Above it looks for a session that
// grows and ends that one; a worker that stays full takes no new sessions, stops idle ones early, ends the one session that holds most
// of it, and is given up in the end. Runs on turns of its own, a few milliseconds at a time.

import { PerformanceObserver, constants } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import { messageOf, type MeshError } from "#proto";
import type { Log, LogFields } from "../log.ts";
import type { Cell } from "../session/cell.ts";
import { SessionKilled } from "../session/session-killed.ts";
import { AllocationWatch } from "./allocation-watch.ts";
import type { Kept } from "./growth-proof.ts";
import { LeakHunt, type Finding } from "./leak-hunt.ts";
import { Pressure } from "./pressure.ts";
import { PrivateFields } from "./private-fields.ts";
import { sessionFootprint } from "./session-memory.ts";

/** Between two readings. Too large: a fast leak gets from the mark to the limit in between. */
const READ_MS = 250;
/** Above the mark: so long is looked, so long are the sessions left alone. A fifth of the worker's time. */
const SLICE_MS = 4;
const PAUSE_MS = 16;
/** The same, when so much of the limit is used that there may be no later. */
const URGENT = 0.85;
const URGENT_SLICE_MS = 10;
const URGENT_PAUSE_MS = 10;
/** Sessions that were active in this time may have grown. */
const ACTIVE_MS = 5_000;
/** Growth of a session that is a leak: a part of the limit, but no less than what sessions may well need. */
const GROWTH_SHARE = 0.02;
const GROWTH_BYTES_MIN = 8 * 1024 * 1024;
/** It must have kept so much over such a time, or else it may be building one answer. */
const KEPT_MS = 500;
/** A session that holds such a part of what is in use is ended before all others are. */
const MOST = 0.25;
/** Part of the sessions that are stopped early after each collection that left the worker full, and at least how many. */
const IDLE_SHARE = 0.125;
const IDLE_STOPS_MIN = 100;
/** Collections that we ask for are so far apart: each stops the worker for some 300 ms a GB. */
const COLLECT_MS = 5_000;
const COLLECTIONS_TO_KNOW = 2;
const MIB = 1024 * 1024;
/** Part of what V8 calls its limit, for objects that were just made. What lives on must fit into the rest. */
const YOUNG_BYTES = 96 * MIB;

export interface MemoryGuardOptions {
  /** Part of the limit, 0 to 1. */
  readonly mark: number;
  /** A worker may be full for so long. */
  readonly patienceMs: number;
  readonly log: Log;
  readonly host: {
    readonly size: number;
    active(withinMs: number): Iterable<Cell | undefined>;
    kill(key: Cell["id"]["key"], error: MeshError): void;
    stopIdle(count: number): number;
  };
  /** The worker is full, or is not any more. */
  readonly onFull: (full: boolean) => void;
  /** Once: it stays full. */
  readonly onGivenUp: () => void;
}

export class MemoryGuard {
  readonly #options: MemoryGuardOptions;
  readonly #privateFields = new PrivateFields();
  readonly #limitBytes = limitBytes();
  readonly #growthBytesMin = Math.max(GROWTH_BYTES_MIN, GROWTH_SHARE * this.#limitBytes);
  readonly #pressure: Pressure;
  readonly #allocations = new AllocationWatch();
  readonly #hunt: LeakHunt<Cell>;
  readonly #collections = new PerformanceObserver((list) => {
    if (list.getEntries().some(isMajor)) this.#collected();
  });
  #timer: NodeJS.Timeout | undefined;
  #observing = false;
  #full = false;
  #givenUp = false;
  #collectedMs = 0;
  /**
   * Full collections until we know what it helped that something was ended. The first one that V8 makes by itself may have begun before, and
   * keeps what it has marked by then.
   */
  #unsettled = 0;

  /** MUST be made before globals are frozen. */
  constructor(options: MemoryGuardOptions) {
    this.#options = options;
    this.#pressure = new Pressure({ markBytes: options.mark * this.#limitBytes, patienceMs: options.patienceMs });
    this.#hunt = new LeakHunt({
      sessions: () => options.host.active(ACTIVE_MS),
      leaders: () => this.#allocations.leaders(),
      measure: (cell, foreign) => sessionFootprint(cell, this.#privateFields, foreign),
      onUnmeasurable: (cell, error) => {
        const fields = { session: cell.id.key, error: messageOf(error) };
        options.log.warn("what a session holds cannot be measured", fields);
      },
      growthBytesMin: this.#growthBytesMin,
      now: () => performance.now(),
    });
    this.#lookIn(READ_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#collections.disconnect();
    this.#allocations.close();
    this.#privateFields.close();
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    const used = usedBytes();
    this.#pressure.used(used);
    if (this.#pressure.level === "calm") {
      this.#lookIn(READ_MS);
      this.#rest();
      return;
    }
    this.#observe();
    const urgent = used > URGENT * this.#limitBytes;
    // Set first: what follows may fail, and sessions may be ended by it.
    this.#lookIn(urgent ? URGENT_PAUSE_MS : PAUSE_MS);
    const finding = this.#hunt.run(urgent ? URGENT_SLICE_MS : SLICE_MS, urgent);
    if (this.#full) this.#allocations.tryFurther();
    const kept = urgent ? this.#keptMost() : undefined;
    if (finding !== undefined) this.#endLeak(finding);
    else if (kept !== undefined) this.#endKept(kept);
    else if (this.#full) this.#relieve();
  }

  /** All is well again. */
  #rest(): void {
    if (!this.#observing) return;
    this.#observing = false;
    this.#collections.disconnect();
    this.#allocations.close();
    this.#hunt.reset();
    this.#noteFull(false);
  }

  #observe(): void {
    if (this.#observing) return;
    this.#observing = true;
    this.#collections.observe({ entryTypes: ["gc"] });
    this.#allocations.open(performance.now());
  }

  /** After a full collection. */
  #collected(): void {
    if (!this.#observing) return;
    this.#collectedMs = performance.now();
    this.#unsettled = Math.max(0, this.#unsettled - 1);
    this.#pressure.collected(usedBytes(), this.#collectedMs);
    this.#allocations.collected(this.#collectedMs);
    this.#noteFull(this.#pressure.level === "full");
    if (!this.#full) return;
    const { host } = this.#options;
    const stopped = host.stopIdle(Math.max(IDLE_STOPS_MIN, Math.ceil(host.size * IDLE_SHARE)));
    if (stopped === 0) return;
    this.#unsettled = COLLECTIONS_TO_KNOW;
    this.#options.log.warn("idle sessions are stopped early to free memory", { stopped, ...this.#figures() });
  }

  #noteFull(full: boolean): void {
    if (this.#full === full) return;
    this.#full = full;
    const { log, onFull } = this.#options;
    if (full) log.warn("this worker is short of memory; it takes no new sessions", this.#figures());
    else log.info("this worker has memory again; it takes new sessions", this.#figures());
    onFull(full);
  }

  /** The worker is full, and nobody is found to grow. */
  #relieve(): void {
    const nowMs = performance.now();
    const overdue = this.#pressure.overdue(nowMs);
    if ((this.#unsettled > 0 || overdue) && nowMs - this.#collectedMs >= COLLECT_MS) {
      this.#collectedMs = nowMs;
      this.#unsettled = Math.min(this.#unsettled, 1);
      this.#privateFields.collectGarbage();
      // Its entry comes on a turn of its own; then we know more.
      return;
    }
    if (!overdue || this.#unsettled > 0 || this.#givenUp) return;
    const used = usedBytes();
    const largest = this.#hunt.largest();
    if (largest !== undefined && largest.bytes >= MOST * used) {
      this.#end(largest.session, "memory share", largest.bytes, {}, `it held ${mib(largest.bytes)} MiB`);
      return;
    }
    const kept = this.#keptMost();
    if (kept !== undefined) {
      this.#endKept(kept);
      return;
    }
    this.#givenUp = true;
    this.#options.log.error("this worker stays short of memory and no session is to blame; it will be replaced", {
      ...this.#figures(),
      sessions: this.#options.host.size,
    });
    this.#options.onGivenUp();
  }

  #endLeak({ session, bytes, grownBytes, grownMs }: Finding<Cell>): void {
    const grownMb = mib(grownBytes);
    const how = `it grew by ${grownMb} MiB to ${mib(bytes)} MiB within ${grownMs} ms`;
    this.#end(session, "memory leak", bytes, { grownMb, grownMs }, how);
  }

  /** Not found by what it holds, but nobody else can have made what stays. */
  #keptMost(): Kept<Cell> | undefined {
    const kept = this.#allocations.most();
    if (kept === undefined || kept.bytes < this.#growthBytesMin) return undefined;
    return performance.now() - kept.sinceMs >= KEPT_MS ? kept : undefined;
  }

  #endKept({ session, bytes, sinceMs }: Kept<Cell>): void {
    const grownMs = Math.round(performance.now() - sinceMs);
    const how = `it made ${mib(bytes)} MiB within ${grownMs} ms that stay in use`;
    this.#end(session, "memory leak", bytes, { grownMb: mib(bytes), grownMs }, how);
  }

  #end(cell: Cell, reason: "memory leak" | "memory share", bytes: number, more: LogFields, how: string): void {
    const { key } = cell.id;
    this.#unsettled = COLLECTIONS_TO_KNOW;
    const fields = { session: key, reason, sizeMb: mib(bytes), ...more, ...this.#figures() };
    this.#options.log.error("session killed", fields);
    const why = `the session was ended by force: ${how} while its worker ran out of memory (${reason})`;
    this.#options.host.kill(key, new SessionKilled(reason, why, { session: key }));
    // What has been seen of others is in doubt until a collection has taken away what this one held.
    this.#allocations.restart(performance.now());
  }

  #figures(): LogFields {
    const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
    return { heapMb: mib(heap), buffersMb: mib(external), limitMb: mib(this.#limitBytes) };
  }
}

/** V8 gives up when what lives on reaches this, whatever else is free. */
function limitBytes(): number {
  const { heap_size_limit: all } = getHeapStatistics();
  return Math.max(all - YOUNG_BYTES, all / 4);
}

/** Objects and buffers. */
function usedBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
}

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}

function isMajor(entry: PerformanceEntry): boolean {
  // Not in the types of the class, which is that of browsers.
  const detail: unknown = Reflect.get(entry, "detail");
  if (typeof detail !== "object" || detail === null || !("kind" in detail)) return false;
  return detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR;
}
