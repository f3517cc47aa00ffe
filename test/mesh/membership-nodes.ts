// Nodes of one mesh over any bucket, with what a test wants to know of each, and a registry whose faults a test decides.

import {
  startMembership,
  type Clock,
  type Kv,
  type KvWrite,
  type LeaseTimings,
  type Membership,
  type PeerPort,
} from "#mesh";
import { MeshError, decodeLease, decodeView, type View, type WorkerLoad, type WorkerRecord } from "#proto";

export const timings: LeaseTimings = { heartbeatMs: 500, suspendMs: 2_000, evictMs: 3_000, outageCapMs: 45_000 };

export interface TestNode {
  readonly id: string;
  readonly incarnation: string;
  readonly membership: Membership;
  readonly views: View[];
  readonly deadlines: number[];
  readonly fenced: string[];
  readonly logs: string[];
  loads: ReadonlyMap<string, readonly WorkerLoad[]>;
}

/** Nothing is felt or heard of the others; what has ended refuses connections. */
export const deafPeers: PeerPort = {
  follow: () => () => {},
  probe: async () => "refused",
  ask: async () => "unknown",
};

export function testNode(
  id: string,
  kv: Kv,
  clock: Clock,
  options: {
    incarnation?: string;
    timings?: LeaseTimings;
    load?: () => readonly WorkerLoad[];
    peers?: PeerPort;
    host?: string;
    /** Of its wall clock; default: that of the clock. */
    date?: () => number;
  } = {},
): TestNode {
  const incarnation = options.incarnation ?? `${id}-1`;
  const views: View[] = [];
  const deadlines: number[] = [];
  const fenced: string[] = [];
  const logs: string[] = [];
  const node: Omit<TestNode, "membership"> = { id, incarnation, views, deadlines, fenced, logs, loads: new Map() };
  const membership = startMembership({
    kv,
    clock,
    timings: options.timings ?? timings,
    self: {
      id,
      incarnation,
      role: "host",
      machine: "test",
      zone: "",
      labels: {},
      gateway: "http://127.0.0.1:0",
      admin: "http://127.0.0.1:0",
      lifeline: { host: options.host ?? "127.0.0.1", port: 1 },
      pid: 1,
    },
    log: (level, message, fields) => void logs.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    peers: options.peers ?? deafPeers,
    date: options.date ?? (() => clock.now()),
    load: options.load ?? (() => []),
    events: {
      onView: (view) => void views.push(view),
      onDeadline: (deadline) => void deadlines.push(deadline),
      onFenced: (reason) => void fenced.push(reason),
      onLoads: (loads) => void (node.loads = loads),
    },
  });
  return Object.assign(node, { membership });
}

export function worker(index: number, incarnation: string): WorkerRecord {
  return { index, incarnation, address: { host: "127.0.0.1", port: 1, socket: "", lifeline: 0 } };
}

export async function storedView(kv: Kv): Promise<View | undefined> {
  const entry = await kv.get("view");
  return entry === undefined ? undefined : decodeView(entry.value);
}

export async function storedLease(kv: Kv, id: string): Promise<string> {
  const entry = await kv.get(`lease.${id}`);
  if (entry === undefined) return "none";
  const lease = decodeLease(entry.value);
  return `${lease.state} ${lease.incarnation}`;
}

export function memberIds(view: View | undefined): string[] {
  return (view?.nodes ?? []).map((node) => node.id);
}

export interface FaultyKv extends Kv {
  /** Nothing reaches the registry, no watch shows anything; on the way back the watches report a gap. */
  cut: boolean;
  /** Nothing that the watches show arrives, no gap either, and nobody is told. */
  blind: boolean;
  /** Asked for each write: `lost` does not arrive, `silent` arrives and its answer does not. */
  fate: (key: string) => "written" | "lost" | "silent";
}

export function faulty(kv: Kv): FaultyKv {
  let cut = false;
  const gaps = new Set<() => void>();
  const away = (): MeshError => new MeshError("registry_unavailable", "cut off by the test");
  const write = async (key: string, operation: () => Promise<KvWrite>): Promise<KvWrite> => {
    const fate = cut ? "lost" : self.fate(key);
    if (fate === "lost") return { status: "unknown" };
    const result = await operation();
    return fate === "silent" ? { status: "unknown" } : result;
  };
  const self: FaultyKv = {
    blind: false,
    fate: () => "written",
    get cut() {
      return cut;
    },
    set cut(value) {
      const back = cut && !value;
      cut = value;
      if (back && !self.blind) for (const gap of gaps) gap();
    },
    get: (key) => (cut ? Promise.reject(away()) : kv.get(key)),
    list: () => (cut ? Promise.reject(away()) : kv.list()),
    create: (key, value) => write(key, () => kv.create(key, value)),
    update: (key, value, revision) => write(key, () => kv.update(key, value, revision)),
    remove: (key, revision) => write(key, () => kv.remove(key, revision)),
    async watch(onEntry, onGap) {
      gaps.add(onGap);
      const stop = await kv.watch((entry) => {
        if (!cut && !self.blind) onEntry(entry);
      }, onGap);
      return () => {
        gaps.delete(onGap);
        stop();
      };
    },
    close: () => kv.close(),
  };
  return self;
}
