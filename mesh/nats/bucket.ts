// A JetStream bucket as the registry's key-value port. Relies on nats-server 2.9 or later, 2.11 for replicas. Survives the loss of the whole
// store: it makes the bucket anew.

import { setTimeout as sleep } from "node:timers/promises";
import { jetstream, jetstreamManager, JetStreamApiError, StorageType } from "@nats-io/jetstream";
import type { JetStreamClient, JetStreamManager, StreamConfig } from "@nats-io/jetstream";
import { Kvm, type KV, type KvEntry as NatsKvEntry } from "@nats-io/kv";
import { headers, type NatsConnection, type QueuedIterator } from "@nats-io/nats-core";
import { MeshError, messageOf } from "#proto";
import type { Kv, KvEntry, KvWrite } from "../kv/port.ts";
import type { LogLine } from "../log.ts";
import { isNoResponders } from "./connection.ts";

/** An election among JetStream replicas takes 4 to 9 s; a bucket cannot be opened meanwhile. */
const OPEN_BUCKET_MS = 15_000;
const RETRY_MS = 250;
/** Reads of `list` under way at once: enough to hide the round trip, too few to crowd out heartbeats. */
const LIST_PARALLEL = 32;

const WRONG_LAST_SEQUENCE = 10_071;
const STREAM_NOT_FOUND = 10_059;
const JETSTREAM_OFF_FOR_ACCOUNT = 10_039;
const KEY = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

/** Throws `bad_config` when the server is too old for such a bucket. */
export function requireVersion(nc: NatsConnection, replicas: number): void {
  const version = nc.info?.version ?? "0.0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const atLeast = (needed: number): boolean => major > 2 || (major === 2 && minor >= needed);
  if (!atLeast(9)) throw new MeshError("bad_config", `nats-server ${version} is too old: 2.9 or later is needed`);
  if (replicas > 1 && !atLeast(11)) {
    throw new MeshError(
      "bad_config",
      `nats-server ${version} can acknowledge two writes of one revision when a bucket has replicas: ` +
        `set MESH_NATS_REPLICAS=1 or use nats-server 2.11 or later`,
    );
  }
}

interface Watcher {
  readonly onEntry: Parameters<Kv["watch"]>[0];
  readonly onGap: () => void;
  iterator: QueuedIterator<NatsKvEntry> | undefined;
  stopped: boolean;
}

/**
 * A JetStream KV bucket. Writes are published with the expected revision by ourselves: `create` of the client goes on to a read after
 * a time-out, and then takes a write that may still land for one that failed.
 */
export class NatsBucket implements Kv {
  readonly #nc: NatsConnection;
  readonly #name: string;
  readonly #stream: string;
  readonly #replicas: number;
  readonly #timeoutMs: number;
  readonly #log: LogLine;
  readonly #onClose: () => void;
  readonly #js: JetStreamClient;
  readonly #watchers = new Set<Watcher>();
  readonly #closing = new AbortController();
  /** Sequence of our last acknowledged write of a key. As many as keys that we write: the view, our lease, those of evicted nodes. */
  readonly #acknowledged = new Map<string, number>();
  #opening: Promise<void> | undefined;
  #manager: JetStreamManager | undefined;
  #kv: KV | undefined;

  constructor(
    nc: NatsConnection,
    name: string,
    replicas: number,
    timeoutMs: number,
    log: LogLine,
    onClose: () => void,
  ) {
    this.#nc = nc;
    this.#name = name;
    this.#stream = `KV_${name}`;
    this.#replicas = replicas;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
    this.#onClose = onClose;
    this.#js = jetstream(nc, { timeout: timeoutMs });
  }

  async open(): Promise<void> {
    const until = performance.now() + OPEN_BUCKET_MS;
    for (;;) {
      try {
        await this.#ensure();
        return;
      } catch (error) {
        if (error instanceof MeshError) throw error;
        if (isJetStreamSilent(error) && this.#nc.info?.jetstream !== true) {
          throw new MeshError("bad_config", `JetStream is off at ${this.#nc.getServer()}: start nats-server with -js`, {
            cause: error,
          });
        }
        if (performance.now() + RETRY_MS >= until) {
          throw new MeshError(
            "registry_unavailable",
            `the bucket ${this.#name} cannot be opened: ${messageOf(error)}`,
            {
              cause: error,
            },
          );
        }
        await sleep(RETRY_MS);
      }
    }
  }

  async get(key: string): Promise<KvEntry | undefined> {
    const stored = await this.#read(key);
    return stored?.deleted === false ? { key, value: stored.value, revision: stored.revision } : undefined;
  }

  async list(): Promise<KvEntry[]> {
    // The stream's leader answers both steps; the client's own listing asks a consumer, which may lag.
    const info = await this.#ask((manager) => manager.streams.info(this.#stream, { subjects_filter: ">" }));
    const prefix = `$KV.${this.#name}.`;
    const keys = Object.keys(info?.state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
    const entries: KvEntry[] = [];
    for (let at = 0; at < keys.length; at += LIST_PARALLEL) {
      const some = await Promise.all(keys.slice(at, at + LIST_PARALLEL).map((key) => this.get(key)));
      entries.push(...some.filter((entry) => entry !== undefined));
    }
    return entries;
  }

  async create(key: string, value: Uint8Array): Promise<KvWrite> {
    const first = await this.#publish(key, value, 0);
    if (first.status !== "conflict") return first;
    // Surely not written. The key is there, or was deleted and its mark holds a revision to build on.
    let mark: { readonly revision: number; readonly deleted: boolean } | undefined;
    try {
      mark = await this.#read(key);
    } catch {
      // The port allows `unknown` for a write that never happened; who asked reads again either way.
      return { status: "unknown" };
    }
    return mark?.deleted === false ? { status: "conflict" } : this.#publish(key, value, mark?.revision ?? 0);
  }

  update(key: string, value: Uint8Array, revision: number): Promise<KvWrite> {
    return this.#publish(key, value, revision);
  }

  remove(key: string, revision: number): Promise<KvWrite> {
    return this.#publish(key, new Uint8Array(), revision, "DEL");
  }

  async watch(onEntry: Watcher["onEntry"], onGap: () => void): Promise<() => void> {
    const watcher: Watcher = { onEntry, onGap, iterator: undefined, stopped: false };
    this.#watchers.add(watcher);
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    void this.#follow(watcher, resolve);
    await begun;
    return () => this.#stop(watcher);
  }

  /** The connection is back, perhaps to a server that lost the bucket, and what was written meanwhile may never be shown. */
  reconnected(): void {
    void this.#heal(true);
  }

  close(): Promise<void> {
    this.#closing.abort();
    for (const watcher of this.#watchers) this.#stop(watcher);
    this.#onClose();
    return Promise.resolve();
  }

  /** Makes the bucket unless it is there; checks it when it is. */
  async #ensure(): Promise<void> {
    this.#manager ??= await jetstreamManager(this.#nc, { checkAPI: false, timeout: this.#timeoutMs });
    const kv = await new Kvm(this.#js).create(this.#name, {
      history: 1,
      storage: StorageType.File,
      replicas: this.#replicas,
      // Followers would answer reads, and a follower may lag.
      allow_direct: false,
    });
    const { config } = await this.#manager.streams.info(this.#stream);
    const wrong = wrongSettings(config, this.#replicas);
    if (wrong.length > 0) {
      throw new MeshError(
        "bad_config",
        `the NATS bucket ${this.#name} exists with other settings; change ${wrong.join(", ")} of the stream ${this.#stream}` +
          ` (nats stream edit), or delete it while no node runs`,
      );
    }
    this.#kv = kv;
  }

  /** Once at a time; never rejects. Watches begin again when writes may have been missed. */
  #heal(missed: boolean): Promise<void> {
    this.#opening ??= (async () => {
      try {
        await this.#ensure();
      } catch (error) {
        this.#log("warn", `the bucket ${this.#name} cannot be opened: ${messageOf(error)}`);
      }
      this.#opening = undefined;
      if (this.#closing.signal.aborted || !missed) return;
      for (const watcher of this.#watchers) {
        watcher.iterator?.stop();
        watcher.onGap();
      }
    })();
    return this.#opening;
  }

  async #ask<T>(question: (manager: JetStreamManager) => Promise<T>): Promise<T | undefined> {
    if (this.#closing.signal.aborted) throw new MeshError("registry_unavailable", `the bucket ${this.#name} is closed`);
    try {
      this.#manager ??= await jetstreamManager(this.#nc, { checkAPI: false, timeout: this.#timeoutMs });
      return await question(this.#manager);
    } catch (cause) {
      if (isMissingStream(cause)) void this.#heal(true);
      throw new MeshError("registry_unavailable", `the registry does not answer: ${messageOf(cause)}`, { cause });
    }
  }

  async #read(
    key: string,
  ): Promise<{ readonly value: Uint8Array; readonly revision: number; readonly deleted: boolean } | undefined> {
    const subject = this.#subject(key);
    const message = await this.#ask((manager) => manager.streams.getMessage(this.#stream, { last_by_subj: subject }));
    // Sequences only rise, and a removed key leaves a mark. Less than we wrote ourselves is another stream under the old name, made
    // anew by another client while we were connected: our watches hang on the old one and will never show anything again.
    if ((message?.seq ?? 0) < (this.#acknowledged.get(key) ?? 0)) {
      this.#acknowledged.clear();
      void this.#heal(true);
    }
    if (message === undefined || message === null) return undefined;
    const deleted = message.header.has("KV-Operation") || message.header.has("Nats-Marker-Reason");
    return { value: message.data, revision: message.seq, deleted };
  }

  async #publish(key: string, value: Uint8Array, revision: number, operation?: "DEL"): Promise<KvWrite> {
    if (this.#closing.signal.aborted || this.#nc.isClosed()) return { status: "unknown" };
    const marks = headers();
    if (operation !== undefined) marks.set("KV-Operation", operation);
    try {
      const ack = await this.#js.publish(this.#subject(key), value, {
        expect: { streamName: this.#stream, lastSubjectSequence: revision },
        timeout: this.#timeoutMs,
        headers: marks,
      });
      this.#acknowledged.set(key, ack.seq);
      return { status: "written", revision: ack.seq };
    } catch (error) {
      // Only the leader's own "wrong last sequence" is a refusal. Its sibling 10164 says that another write is under way,
      // not that the revision has moved; everything else may have been written, or may be yet.
      if (error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE) return { status: "conflict" };
      if (isMissingStream(error)) void this.#heal(true);
      else if (error instanceof JetStreamApiError) this.#log("warn", `a write of ${key} failed: ${error.message}`);
      return { status: "unknown" };
    }
  }

  async #follow(watcher: Watcher, begun: () => void): Promise<void> {
    while (!watcher.stopped) {
      try {
        if (this.#kv === undefined) throw new Error("the bucket is not open");
        // Begins with the last value of every key, so nothing falls between two watches.
        watcher.iterator = await this.#kv.watch();
        begun();
        if (watcher.stopped) return watcher.iterator.stop();
        for await (const entry of watcher.iterator) {
          if (watcher.stopped) return;
          watcher.onEntry({
            key: entry.key,
            value: entry.operation === "PUT" ? entry.value : undefined,
            revision: entry.revision,
          });
        }
      } catch (error) {
        this.#log("debug", `a watch of ${this.#name} broke: ${messageOf(error)}`);
      }
      begun();
      // Also after a clean end, or a watch that ends at once would spin.
      await sleep(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
  }

  #stop(watcher: Watcher): void {
    watcher.stopped = true;
    watcher.iterator?.stop();
    this.#watchers.delete(watcher);
  }

  #subject(key: string): string {
    // Never a key from outside as it is: a wildcard or a space in a subject does something else.
    if (!KEY.test(key)) throw new MeshError("internal", `"${key}" is not a key of a bucket`);
    return `$KV.${this.#name}.${key}`;
  }
}

function isMissingStream(error: unknown): boolean {
  // A stream that is gone has no listener on its subjects either, which the client reports as JetStream being off.
  return isJetStreamSilent(error) || (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND);
}

/** The client wraps the cause in an error whose class it does not export. */
function isJetStreamSilent(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { cause } = error;
  return isNoResponders(cause) || (cause instanceof JetStreamApiError && cause.code === JETSTREAM_OFF_FOR_ACCOUNT);
}

function wrongSettings(config: StreamConfig, replicas: number): string[] {
  const wrong: string[] = [];
  if (config.num_replicas !== replicas) wrong.push(`replicas from ${config.num_replicas} to ${replicas}`);
  if (config.storage !== StorageType.File) wrong.push(`storage from ${config.storage} to file`);
  if (config.allow_direct) wrong.push("allow_direct from true to false");
  if (config.max_age > 0) wrong.push("max_age to 0 (leases must not expire)");
  if (config.max_msgs_per_subject !== 1) wrong.push(`history from ${config.max_msgs_per_subject} to 1`);
  if (config.discard !== "new") wrong.push(`discard from ${config.discard} to new`);
  return wrong;
}
