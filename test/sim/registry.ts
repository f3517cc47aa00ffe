// The simulated registry: one bucket with compare-and-set, and a client of it for each primary. It obeys mesh/kv/port.ts and makes use of all
// that the port allows: requests and answers get lost or late, watches are late, repeat, skip or go blind, and the whole can fail
// over, restart, forget everything, or go back to an earlier state.

import { MeshError } from "#proto";
import type { Kv, KvEntry, KvWrite } from "../../mesh/kv/port.ts";
import type { Random } from "./random.ts";
import type { Process, Timeline } from "./timeline.ts";

/** As long as the NATS adapter waits for an answer. */
const OPERATION_MS = 1_000;
/** Writes that can be undone: a rewind loses some seconds. */
const UNDO_MAX = 2_000;
/** Beyond so many watchers some of them share each moment at which they are shown something: a thousand of them make a million events a second. */
const LANES = 64;
/** After it came back, a leader that was deposed may still answer reads for so long. */
const DEPOSED_MS = 400;

type Change = { readonly key: string; readonly value: Uint8Array | undefined; readonly revision: number };

export interface RegistryEvents {
  /** A write is applied now, over `before`. */
  written(key: string, value: Uint8Array | undefined, before: Uint8Array | undefined): void;
}

export class Registry {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly entries = new Map<string, KvEntry>();
  readonly clients = new Set<RegistryClient>();
  /** Applied, and shown to watches. */
  writes = 0;
  shown = 0;
  /** Nobody gets an answer. */
  down = false;
  /** Until then reads may show what was true before the fail-over. */
  #deposedUntil = 0;
  #revision = 0;
  readonly #undo: { readonly at: number; readonly key: string; readonly before: KvEntry | undefined }[] = [];
  readonly #lanes = Array.from({ length: LANES }, () => new Set<RegistryClient>());
  readonly #shownAt: number[] = [];
  #opened = 0;
  readonly #events: RegistryEvents;

  constructor(timeline: Timeline, random: Random, events: RegistryEvents) {
    this.timeline = timeline;
    this.random = random;
    this.#events = events;
  }

  open(process: Process): RegistryClient {
    const client = new RegistryClient(this, process, this.#opened++ % LANES);
    this.clients.add(client);
    this.#lanes[client.lane]?.add(client);
    return client;
  }

  closed(client: RegistryClient): void {
    this.clients.delete(client);
    this.#lanes[client.lane]?.delete(client);
  }

  /** An election: nothing is answered, then a deposed leader may answer reads for a moment more. */
  failOver(ms: number): void {
    this.down = true;
    this.timeline.after(ms, undefined, () => {
      this.down = false;
      this.#deposedUntil = this.timeline.now + DEPOSED_MS;
    });
  }

  /** Away, with all connections; then everybody reconnects. */
  restart(ms: number, meanwhile: () => void = () => {}): void {
    this.down = true;
    this.timeline.after(ms, undefined, () => {
      meanwhile();
      this.down = false;
      for (const client of this.clients) client.reconnected();
    });
  }

  wipe(): void {
    this.entries.clear();
    this.#undo.length = 0;
    this.#revision = 0;
  }

  /** Forgets the writes of the last `ms`, which it had acknowledged. */
  rewind(ms: number): void {
    const since = this.timeline.now - ms;
    for (let last = this.#undo.at(-1); last !== undefined && last.at > since; last = this.#undo.at(-1)) {
      this.#undo.pop();
      this.#revision = Math.max(0, this.#revision - 1);
      if (last.before === undefined) this.entries.delete(last.key);
      else this.entries.set(last.key, last.before);
    }
  }

  read(key: string): KvEntry | undefined {
    if (this.timeline.now >= this.#deposedUntil || this.random.chance(0.5)) return this.entries.get(key);
    const before = this.#undo.findLast((write) => write.key === key);
    return before === undefined ? this.entries.get(key) : before.before;
  }

  put(key: string, value: Uint8Array, revision: number): KvWrite {
    if ((this.entries.get(key)?.revision ?? 0) !== revision) return { status: "conflict" };
    this.#remember(key);
    const entry = { key, value, revision: ++this.#revision };
    this.#events.written(key, value, this.entries.get(key)?.value);
    this.entries.set(key, entry);
    return this.#publish(entry);
  }

  remove(key: string, revision: number): KvWrite {
    if (this.entries.get(key)?.revision !== revision) return { status: "conflict" };
    this.#remember(key);
    this.#events.written(key, undefined, this.entries.get(key)?.value);
    this.entries.delete(key);
    return this.#publish({ key, value: undefined, revision: ++this.#revision });
  }

  #remember(key: string): void {
    this.#undo.push({ at: this.timeline.now, key, before: this.entries.get(key) });
    if (this.#undo.length > UNDO_MAX) this.#undo.shift();
  }

  #publish(change: Change): KvWrite {
    this.writes++;
    if (this.clients.size <= LANES) for (const client of this.clients) client.show(change);
    else this.#showMany(change);
    return { status: "written", revision: change.revision };
  }

  #showMany(change: Change): void {
    for (const [lane, clients] of this.#lanes.entries()) {
      const at = Math.max(this.#shownAt[lane] ?? 0, this.timeline.now + this.random.between(0.2, 4));
      this.#shownAt[lane] = at;
      this.timeline.after(at - this.timeline.now, undefined, () => {
        for (const client of clients) client.showNow(change);
      });
    }
  }
}

export class RegistryClient implements Kv {
  readonly lane: number;
  readonly #registry: Registry;
  readonly #process: Process;
  readonly #watches = new Set<{ readonly onEntry: (change: Change) => void; readonly onGap: () => void }>();
  #cut = false;
  #lastShownAt = 0;
  /** Watches show nothing, and nobody is told. */
  blind = false;
  /** Chances of a request, and of an answer, to get lost. */
  requestLoss = 0;
  answerLoss = 0;
  /** Chance of a write to arrive long after it was given up. */
  lateness = 0;
  /** How late watches are, at most, and in any order. */
  watchDelayMs = 0;
  /** Longest way of a request, and of its answer. */
  slowMs = 4;
  unknown = 0;

  constructor(registry: Registry, process: Process, lane: number) {
    this.lane = lane;
    this.#registry = registry;
    this.#process = process;
  }

  get cut(): boolean {
    return this.#cut;
  }

  set cut(cut: boolean) {
    const back = this.#cut && !cut;
    this.#cut = cut;
    if (back) this.reconnected();
  }

  /** The process that used it is gone. */
  drop(): void {
    this.#registry.closed(this);
  }

  reconnected(): void {
    const { timeline, random } = this.#registry;
    timeline.after(random.between(1, 300), this.#process, () => {
      if (!this.blind) for (const watch of this.#watches) watch.onGap();
    });
  }

  show(change: Change): void {
    if (this.#cut || this.blind || this.#watches.size === 0) return;
    const { timeline, random } = this.#registry;
    this.#registry.shown++;
    const deliver = (): void => {
      for (const watch of this.#watches) watch.onEntry(change);
    };
    if (this.watchDelayMs > 0) {
      timeline.after(random.next() * this.watchDelayMs, this.#process, deliver);
      if (random.chance(0.1)) timeline.after(random.next() * this.watchDelayMs, this.#process, deliver);
      return;
    }
    const at = Math.max(this.#lastShownAt, timeline.now + this.#travel());
    this.#lastShownAt = at;
    timeline.after(at - timeline.now, this.#process, deliver);
  }

  /** As one of many. */
  showNow(change: Change): void {
    if (this.#cut || this.blind || this.#watches.size === 0 || !this.#process.alive) return;
    if (this.#process.paused) return this.show(change);
    this.#registry.shown++;
    for (const watch of this.#watches) watch.onEntry(change);
  }

  async get(key: string): Promise<KvEntry | undefined> {
    return this.#read(() => this.#registry.read(key));
  }

  async list(): Promise<KvEntry[]> {
    return this.#read(() => [...this.#registry.entries.values()]);
  }

  create(key: string, value: Uint8Array): Promise<KvWrite> {
    return this.#write(() => this.#registry.put(key, value, 0));
  }

  update(key: string, value: Uint8Array, revision: number): Promise<KvWrite> {
    return this.#write(() => this.#registry.put(key, value, revision));
  }

  remove(key: string, revision: number): Promise<KvWrite> {
    return this.#write(() => this.#registry.remove(key, revision));
  }

  watch(onEntry: (change: Change) => void, onGap: () => void): Promise<() => void> {
    const watch = { onEntry, onGap };
    this.#watches.add(watch);
    return Promise.resolve(() => void this.#watches.delete(watch));
  }

  close(): Promise<void> {
    this.#watches.clear();
    return Promise.resolve();
  }

  async #read<T>(operation: () => T): Promise<T> {
    const answer = await this.#request(operation, 0);
    if (answer === "none") throw new MeshError("registry_unavailable", "the simulated registry did not answer");
    return answer.value;
  }

  async #write(operation: () => KvWrite): Promise<KvWrite> {
    const answer = await this.#request(operation, this.lateness);
    if (answer !== "none") return answer.value;
    this.unknown++;
    return { status: "unknown" };
  }

  #request<T>(operation: () => T, lateness: number): Promise<{ readonly value: T } | "none"> {
    const { timeline, random } = this.#registry;
    return new Promise((resolve) => {
      const giveUp = timeline.after(OPERATION_MS, this.#process, () => resolve("none"));
      const late = random.chance(lateness) ? OPERATION_MS * random.between(0.5, 3) : 0;
      if (this.#cut || random.chance(this.requestLoss)) return;
      timeline.after(late + random.between(0.2, this.slowMs), undefined, () => {
        // What a server took before it went away may still be written, or not.
        if (this.#cut || (this.#registry.down && !random.chance(0.02))) return;
        const value = operation();
        if (this.#registry.down || random.chance(this.answerLoss)) return;
        timeline.after(random.between(0.2, this.slowMs), this.#process, () => {
          if (this.#cut) return;
          giveUp();
          resolve({ value });
        });
      });
    });
  }

  #travel(): number {
    return this.#registry.random.between(0.2, 4);
  }
}
