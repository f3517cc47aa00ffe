// What is done to the mesh in one run: made from a seed, plain data, so that it can be written down, cut shorter, and run again.

import { Random } from "./random.ts";

export type Fault =
  /**
   * All processes of a node end at once; `silently`: its machine loses power; `addressGoes`: its address goes with them. It starts again after `ms`.
   */
  | {
      readonly kind: "kill";
      readonly node: number;
      readonly silently: boolean;
      readonly addressGoes?: boolean;
      readonly ms: number;
    }
  /** The primary alone dies; its workers follow when they notice. `addressGoes`: nobody reaches them any more. */
  | { readonly kind: "kill_primary"; readonly node: number; readonly addressGoes?: boolean; readonly ms: number }
  | { readonly kind: "kill_worker"; readonly node: number; readonly worker: number }
  /** Stopped for `ms`. */
  | { readonly kind: "pause"; readonly node: number; readonly what: "primary" | "worker" | "all"; readonly ms: number }
  /** Nothing passes between two nodes for `ms`; `oneWay`: in one direction. */
  | { readonly kind: "part"; readonly node: number; readonly from: number; readonly oneWay: boolean }
  /** Nothing passes between these nodes and the others. */
  | { readonly kind: "isolate"; readonly node: number }
  /** Two nodes lose the registry and all others, but not each other. */
  | { readonly kind: "strand"; readonly node: number; readonly with: number }
  | { readonly kind: "firewall"; readonly node: number }
  | { readonly kind: "heal" }
  | { readonly kind: "slow"; readonly ms: number }
  /** A node loses the registry. */
  | { readonly kind: "cut"; readonly node: number }
  | { readonly kind: "cut_all" }
  /** One node, or all, reach the registry again. */
  | { readonly kind: "mend"; readonly node?: number }
  | { readonly kind: "blind"; readonly node: number }
  | { readonly kind: "lossy"; readonly node: number; readonly requests: number; readonly answers: number }
  | { readonly kind: "late"; readonly node: number; readonly writes: number; readonly watchMs: number }
  | { readonly kind: "sound" }
  /** Requests to the registry take up to `ms`, of all nodes or of one. */
  | { readonly kind: "slow_registry"; readonly node?: number; readonly ms: number }
  | { readonly kind: "fail_over"; readonly ms: number }
  | { readonly kind: "restart"; readonly ms: number }
  | { readonly kind: "wipe"; readonly ms: number }
  | { readonly kind: "rewind"; readonly ms: number; readonly backMs: number }
  | { readonly kind: "join"; readonly node: number }
  | { readonly kind: "drain"; readonly node: number; readonly ms: number }
  /** Sessions end by themselves, or crash. */
  | { readonly kind: "end_sessions"; readonly node: number; readonly count: number; readonly crash: boolean }
  | { readonly kind: "slow_store"; readonly ms: number };

export const allThemes = [
  "any",
  "crashes",
  "partitions",
  "registry",
  "forgetting",
  "outages",
  "changes",
  "rewinds",
  "revivals",
  "containers",
] as const;
export type Theme = (typeof allThemes)[number];

export interface Schedule {
  readonly seed: number;
  readonly theme: Theme;
  /** Nodes that run from the start, of `nodesMax`. */
  readonly nodes: number;
  readonly nodesMax: number;
  readonly workers: number;
  /** Mean time between two requests. */
  readonly requestMs: number;
  readonly names: number;
  /** Machine clocks run at most so much fast or slow. */
  readonly clockDrift: number;
  readonly faults: readonly (Fault & { readonly atMs: number })[];
  /** When the last fault is over. */
  readonly calmMs: number;
}

/** When the mesh is up and faults begin. */
export const FIRST_FAULT_MS = 1_500;
const FAULTS = { least: 4, most: 18 };

const themes: readonly Theme[] = [
  "any",
  "any",
  "any",
  "crashes",
  "partitions",
  "registry",
  "forgetting",
  "outages",
  "changes",
];

/**
 * Three are not drawn. `rewinds`: nodes that are evicted while a registry goes back, again and again. `revivals`: nodes that fall silent and come
 * back while nobody has contact, or had it a moment ago. `containers`: the addresses of nodes go when their primaries end, whatever their workers do.
 */
export function scheduleOf(seed: number, only?: Theme): Schedule {
  const random = new Random(seed ^ 0x5e55_10e5);
  const drawn = random.pick(themes);
  const theme = only ?? drawn;
  const nodes = 3 + random.below(3);
  const nodesMax = nodes + random.below(3);
  const faults: (Fault & { readonly atMs: number })[] = [];
  let atMs = FIRST_FAULT_MS;
  for (let left = FAULTS.least + random.below(FAULTS.most - FAULTS.least); left > 0; left--) {
    const fault = faultOf(theme, random, nodesMax);
    faults.push({ ...fault, atMs: Math.round(atMs) });
    atMs += random.chance(0.3) ? random.between(0, 50) : random.between(100, 3_000);
    // Outages must be over before the next one begins, or they would add up to more than the cap.
    if (theme === "outages" && "ms" in fault) atMs += fault.ms + 2_000;
  }
  return {
    seed,
    theme,
    nodes,
    nodesMax,
    workers: 1 + random.below(2),
    requestMs: random.pick([20, 50, 100]),
    names: random.pick([4, 12]),
    clockDrift: theme === "outages" || random.chance(0.5) ? 0 : 0.05,
    faults,
    calmMs: Math.round(atMs + 500),
  };
}

function faultOf(theme: Theme, random: Random, nodes: number): Fault {
  const any = theme === "any";
  const choices: (() => Fault)[] = [];
  const node = (): number => random.below(nodes);
  const add = (times: number, make: () => Fault): void => {
    for (let at = 0; at < times; at++) choices.push(make);
  };
  add(2, () => ({ kind: "end_sessions", node: node(), count: 1 + random.below(4), crash: random.chance(0.3) }));
  if (any || theme === "crashes") {
    add(3, () => ({
      kind: "kill",
      node: node(),
      silently: random.chance(0.3),
      ms: Math.round(random.between(50, 8_000)),
    }));
    add(1, () => ({ kind: "kill_primary", node: node(), ms: Math.round(random.between(50, 8_000)) }));
    add(3, () => ({ kind: "kill_worker", node: node(), worker: random.below(2) }));
    add(4, () => ({
      kind: "pause",
      node: node(),
      what: random.pick(["primary", "worker", "all"] as const),
      ms: Math.round(random.between(100, 7_000)),
    }));
    add(1, () => ({ kind: "join", node: node() }));
  }
  if (any || theme === "partitions") {
    add(2, () => ({ kind: "part", node: node(), from: node(), oneWay: random.chance(0.5) }));
    add(2, () => ({ kind: "isolate", node: node() }));
    add(1, () => ({ kind: "strand", node: node(), with: node() }));
    add(1, () => ({ kind: "firewall", node: node() }));
    add(3, () => ({ kind: "heal" }));
    add(2, () => ({ kind: "cut", node: node() }));
    add(2, () => ({ kind: "mend" }));
  }
  if (theme !== "outages" && theme !== "registry") {
    add(1, () => ({ kind: "slow", ms: Math.round(random.between(20, 1_500)) }));
  }
  if (any || theme === "registry" || theme === "crashes") {
    add(1, () => ({ kind: "slow_store", ms: Math.round(random.between(5, 2_000)) }));
  }
  if (any || theme === "registry") {
    add(3, () => ({ kind: "cut", node: node() }));
    add(1, () => ({ kind: "cut_all" }));
    add(3, () => ({ kind: "mend", ...(random.chance(0.5) ? { node: node() } : {}) }));
    add(2, () => ({
      kind: "slow_registry",
      ms: Math.round(random.between(100, 1_600)),
      ...(random.chance(0.7) ? { node: node() } : {}),
    }));
    add(1, () => ({ kind: "blind", node: node() }));
    add(2, () => ({ kind: "lossy", node: node(), requests: random.next() * 0.5, answers: random.next() * 0.5 }));
    add(1, () => ({ kind: "late", node: node(), writes: random.next() * 0.3, watchMs: random.next() * 3_000 }));
    add(1, () => ({ kind: "sound" }));
  }
  if (any || theme === "registry" || theme === "outages") {
    add(3, () => ({ kind: "fail_over", ms: Math.round(random.between(4_000, 9_000)) }));
    add(1, () => ({ kind: "restart", ms: Math.round(random.between(500, 3_000)) }));
  }
  if (any || theme === "forgetting" || theme === "outages") {
    add(1, () => ({ kind: "wipe", ms: Math.round(random.between(200, 2_000)) }));
    add(1, () => ({
      kind: "rewind",
      ms: Math.round(random.between(200, 2_000)),
      backMs: Math.round(random.between(200, 6_000)),
    }));
  }
  if (theme === "revivals") {
    add(3, () => ({
      kind: "pause",
      node: node(),
      what: random.pick(["primary", "all", "all"] as const),
      ms: Math.round(random.between(1_000, 5_000)),
    }));
    add(2, () => ({ kind: "isolate", node: node() }));
    add(1, () => ({ kind: "part", node: node(), from: node(), oneWay: random.chance(0.5) }));
    add(4, () => ({ kind: "heal" }));
    add(2, () => ({ kind: "cut", node: node() }));
    add(3, () => ({ kind: "cut_all" }));
    add(4, () => ({ kind: "mend", ...(random.chance(0.5) ? { node: node() } : {}) }));
    add(2, () => ({ kind: "fail_over", ms: Math.round(random.between(4_000, 9_000)) }));
    add(2, () => ({ kind: "lossy", node: node(), requests: random.next() * 0.3, answers: random.next() }));
    add(1, () => ({ kind: "late", node: node(), writes: random.next(), watchMs: random.next() * 3_000 }));
    add(1, () => ({ kind: "blind", node: node() }));
    add(1, () => ({ kind: "sound" }));
    add(1, () => ({
      kind: "kill",
      node: node(),
      silently: random.chance(0.3),
      ms: Math.round(random.between(50, 8_000)),
    }));
    add(1, () => ({ kind: "join", node: node() }));
  }
  if (theme === "containers") {
    add(4, () => ({
      kind: "kill",
      node: node(),
      silently: false,
      addressGoes: random.chance(0.8),
      ms: Math.round(random.between(50, 8_000)),
    }));
    add(4, () => ({
      kind: "kill_primary",
      node: node(),
      addressGoes: random.chance(0.8),
      ms: Math.round(random.between(1_000, 8_000)),
    }));
    add(3, () => ({ kind: "kill_worker", node: node(), worker: random.below(2) }));
    add(3, () => ({
      kind: "pause",
      node: node(),
      what: random.pick(["worker", "worker", "all"] as const),
      ms: Math.round(random.between(1_000, 7_000)),
    }));
    add(1, () => ({ kind: "part", node: node(), from: node(), oneWay: random.chance(0.5) }));
    add(1, () => ({ kind: "isolate", node: node() }));
    add(1, () => ({ kind: "cut_all" }));
    add(3, () => ({ kind: "heal" }));
    add(2, () => ({ kind: "mend" }));
    add(1, () => ({ kind: "late", node: node(), writes: random.next() * 0.3, watchMs: random.next() * 3_000 }));
    add(2, () => ({ kind: "join", node: node() }));
  }
  if (theme === "rewinds") {
    add(4, () => ({
      kind: "pause",
      node: node(),
      what: random.pick(["primary", "all", "all"] as const),
      ms: Math.round(random.between(1_500, 7_000)),
    }));
    add(4, () => ({ kind: "cut", node: node() }));
    add(2, () => ({ kind: "isolate", node: node() }));
    add(1, () => ({ kind: "part", node: node(), from: node(), oneWay: random.chance(0.5) }));
    add(1, () => ({ kind: "strand", node: node(), with: node() }));
    add(3, () => ({ kind: "heal" }));
    add(4, () => ({ kind: "mend", ...(random.chance(0.5) ? { node: node() } : {}) }));
    add(1, () => ({ kind: "blind", node: node() }));
    add(1, () => ({ kind: "late", node: node(), writes: random.next() * 0.3, watchMs: random.next() * 3_000 }));
    add(1, () => ({
      kind: "kill",
      node: node(),
      silently: random.chance(0.5),
      ms: Math.round(random.between(50, 8_000)),
    }));
    add(1, () => ({ kind: "join", node: node() }));
    add(6, () => ({
      kind: "rewind",
      ms: Math.round(random.between(200, 3_000)),
      backMs: Math.round(random.between(200, 9_000)),
    }));
  }
  if (any || theme === "forgetting" || theme === "changes") {
    add(3, () => ({ kind: "join", node: node() }));
    add(2, () => ({ kind: "drain", node: node(), ms: Math.round(random.between(1_000, 4_000)) }));
  }
  return random.pick(choices)();
}
