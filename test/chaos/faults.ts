// What is done to the mesh, one entry a fault: whom it hits, how it ends, and what may be lost by it.

import path from "node:path";
import type { Draws } from "../cluster/seeded.ts";
import type { Arena, GuestWish, Victim } from "./arena.ts";
import type { Cut, Weather } from "./network/port.ts";
import type { PlacedNode } from "./placed-node.ts";
import { openStorm } from "./storm.ts";

export interface FaultKind {
  readonly name: string;
  /** Nodes that it hits. */
  readonly victims: 0 | 1 | 2;
  /** What it takes to do it; without that it is left out, and the table says so. */
  readonly needs?: "cuts" | "weather" | "disk" | "replicas";
  /** Takes a minute: for runs with time. */
  readonly isLong?: true;
  /** A node more that is there, with sessions of its own, before it begins. */
  readonly guest?: GuestWish;
  readonly target?: Target;
  /** Makes sense together with another fault. */
  readonly pairs: boolean;
  /** No node reaches the registry meanwhile, or others can never ask the victim again: all nodes hold their sessions when both are so. */
  readonly leaves?: "no registry" | "no answer";
  /** Does it. */
  begin(arena: Arena, victims: readonly Victim[], draws: Draws, scale: Scale): Promise<Begun>;
}

/** How much of the large faults a run can afford. */
export interface Scale {
  readonly sockets: number;
}

export type Target =
  /** Every name that was lost works again within so long, 99 of 100. */
  | { readonly kind: "back"; readonly ms: number }
  /** No session ends, no request fails. */
  | { readonly kind: "nothing ends" }
  /** Sessions end nowhere else, and no request fails. */
  | { readonly kind: "nothing fails" }
  /** Sessions elsewhere are answered all the time, within so long. */
  | { readonly kind: "no pause"; readonly ms: number };

export interface Begun {
  readonly atMs: number;
  /** Worker processes whose sessions may be lost. */
  readonly mayLose: readonly number[];
  /** Incarnations whose leave from the view shows that the loss was noticed. */
  readonly lives: readonly string[];
  /** Nothing tells the others that it happened. */
  readonly silent: boolean;
  /** Those processes end for certain, if not at once: what they still answer is no recovery. */
  readonly fatal: boolean;
  /** How long it lasts at least. */
  readonly holdMs: number;
  /** Ends it. What is dead stays dead. */
  end(): Promise<void>;
  /** Until each connection was back, or each node was there, when it is about those. */
  readonly reconnectedMs?: Promise<readonly number[]>;
}

/** By `node test/chaos/run.ts --minutes`: a storm of ten thousand takes a minute to prepare. */
export const SHORT: Scale = { sockets: 1_000 };
export const LONG: Scale = { sockets: 10_000 };

/** Longer than suspendMs and evictMs together, and than a dead connection takes to be noticed. */
const CUT_MS = 7_000;
const AT_ONCE_MS = 1_000;
const FOUL: Weather = { delayMs: 200, jitterMs: 50, lossPercent: 20 };
/**
 * Nodes that come at the same moment, of one worker each. Two cores start so many within half a minute; with 20 they are so busy that a request
 * through a gateway that has just come may not get its turn within 10 s.
 */
const CROWD = 12;
/** Seconds of processor for each, all at the same time. */
const CROWD_READY_MS = 120_000;
/** What tests open instead of a file on a disk that is full: Linux refuses every write to it with ENOSPC. */
const FULL_DISK = "/dev/full";
/** Text log lines begin with the time of day of the node that wrote them. */
const LOG_TIME = /^\S+ (\d\d):(\d\d):(\d\d)\./;
const DAY_S = 86_400;
/** Beyond what may pass between a line and a look at it. */
const WRONG_S = 60;
const CLOCK = path.join(import.meta.dirname, "jumping-clock-fixture.ts");
/** A node without faults says nothing, so its last lines are of the fault under way, or the one before. */
const LATELY_LINES = 3;
/** A pause longer than this would be noticed by a person. */
const PAUSE_MS = 500;

const WORKER_BACK: Target = { kind: "back", ms: 300 };
const NODE_BACK: Target = { kind: "back", ms: 1_000 };
const SILENT_BACK: Target = { kind: "back", ms: 4_000 };
const NOTHING_ENDS: Target = { kind: "nothing ends" };

const pidsOf = (victims: readonly Victim[]): number[] =>
  victims.flatMap(({ workers }) => workers.map(({ pid }) => pid));
const livesOf = (victims: readonly Victim[]): string[] => victims.flatMap(({ lives }) => lives);
const nothing = async (): Promise<void> => {};

/** In the order of the table. */
export const faultKinds: readonly FaultKind[] = [
  {
    name: "worker killed",
    victims: 1,
    target: WORKER_BACK,
    pairs: true,
    begin: async (arena, victims, draws) => {
      const [worker, incarnation] = draws.pick(
        victims.flatMap(({ node, workers }) =>
          workers.map((one) => {
            const record = arena.views.last?.nodes.find(({ id }) => id === node.id);
            const there = record?.workers.find(({ index }) => index === one.index)?.incarnation;
            return [one, there] as const;
          }),
        ),
      );
      process.kill(worker.pid, "SIGKILL");
      return {
        atMs: performance.now(),
        mayLose: [worker.pid],
        lives: incarnation === undefined ? [] : [incarnation],
        silent: false,
        fatal: true,
        holdMs: AT_ONCE_MS,
        end: nothing,
      };
    },
  },
  {
    name: "primary killed",
    victims: 1,
    target: NODE_BACK,
    pairs: true,
    begin: (arena, all) => kill(arena, all, "primary"),
  },
  { name: "node killed", victims: 1, target: NODE_BACK, pairs: true, begin: (arena, all) => kill(arena, all, "group") },
  {
    name: "half of the nodes killed",
    victims: 2,
    target: { kind: "no pause", ms: PAUSE_MS },
    pairs: false,
    begin: (arena, all) => kill(arena, all, "group"),
  },
  stopped("group", 1_000, NOTHING_ENDS),
  stopped("group", 3_000, SILENT_BACK),
  stopped("group", 10_000, SILENT_BACK),
  stopped("primary", 10_000, SILENT_BACK),
  {
    name: "power lost, silently",
    victims: 1,
    needs: "cuts",
    target: SILENT_BACK,
    pairs: true,
    leaves: "no answer",
    begin: async (arena, victims) => {
      for (const { node } of victims) {
        arena.closeToClients(node);
        arena.network.cable(node.place, "down");
      }
      return {
        ...silent(victims, CUT_MS),
        end: async () => {
          for (const { node } of victims) {
            node.signal("SIGKILL", "group");
            arena.forget(node);
            await node.exited;
            arena.network.cable(node.place, "up");
          }
        },
      };
    },
  },
  cutOff("NATS", ["nats"], "both ways", NOTHING_ENDS),
  cutOff("NATS", ["nats"], "to", NOTHING_ENDS),
  cutOff("NATS", ["nats"], "from", NOTHING_ENDS),
  cutOff("the other nodes", ["peers"], "both ways"),
  cutOff("the other nodes", ["peers"], "to"),
  cutOff("the other nodes", ["peers"], "from"),
  cutOff("NATS and the nodes", ["nats", "peers"], "both ways", SILENT_BACK),
  cutOff("NATS and the nodes", ["nats", "peers"], "to", SILENT_BACK),
  cutOff("NATS and the nodes", ["nats", "peers"], "from", SILENT_BACK),
  badWeather("a node's packets 200 ms late", { ...FOUL, jitterMs: 0, lossPercent: 0 }, NOTHING_ENDS),
  badWeather("20 % of a node's packets lost", { ...FOUL, delayMs: 0, jitterMs: 0 }),
  badWeather("both, and out of order", FOUL),
  {
    name: "NATS restarted",
    victims: 0,
    target: NOTHING_ENDS,
    pairs: true,
    begin: async ({ nats }) => {
      const atMs = performance.now();
      await nats.kill();
      await nats.start();
      return { ...harmless(CUT_MS), atMs };
    },
  },
  {
    name: "NATS restarted, its store wiped",
    victims: 0,
    target: NOTHING_ENDS,
    pairs: true,
    begin: async ({ nats }) => {
      const atMs = performance.now();
      await nats.kill();
      nats.wipe();
      await nats.start();
      return { ...harmless(CUT_MS), atMs };
    },
  },
  natsDown(10_000),
  { ...natsDown(60_000), isLong: true },
  natsKilled("one of three NATS servers killed, a follower", CUT_MS, (_leader, others, draws) => [draws.pick(others)]),
  // The two that are left elect another, which takes seconds.
  natsKilled("one of three NATS servers killed, the leader", 2 * CUT_MS, (leader) => [leader]),
  {
    ...natsKilled("two of three NATS servers killed", 2 * CUT_MS, (leader, others, draws) => [
      leader,
      draws.pick(others),
    ]),
    leaves: "no registry",
  },
  {
    name: "disk of NATS full",
    victims: 0,
    needs: "disk",
    target: NOTHING_ENDS,
    pairs: false,
    begin: async (arena) => {
      const { nats } = arena;
      const atMs = performance.now();
      nats.disk?.fill();
      return {
        ...harmless(CUT_MS),
        atMs,
        // A nats-server that could not write stops to store until it is started again.
        end: async () => {
          nats.disk?.free();
          await nats.kill();
          await nats.start();
          if (!serveOn(arena)) throw new Error("no node noticed that NATS could not write");
        },
      };
    },
  },
  {
    name: "connection storm",
    victims: 0,
    target: NOTHING_ENDS,
    pairs: false,
    begin: async (arena, _victims, _draws, { sockets }) => {
      const storm = await openStorm(arena.gateways, arena.gateways, sockets);
      const atMs = performance.now();
      storm.drop();
      return { ...harmless(AT_ONCE_MS), atMs, reconnectedMs: storm.reconnectedMs, end: storm.end };
    },
  },
  {
    name: "node killed, its clients storm the others",
    victims: 1,
    target: { kind: "no pause", ms: PAUSE_MS },
    pairs: false,
    begin: async (arena, victims, _draws, { sockets }) => {
      const there = victims.map(({ node }) => node);
      const others = arena.gateways.filter((node) => !there.includes(node));
      const storm = await openStorm(there, others, sockets);
      const begun = await kill(arena, victims, "group");
      const end = async (): Promise<void> => void (await Promise.all([storm.end(), begun.end()]));
      return { ...begun, reconnectedMs: storm.reconnectedMs, end };
    },
  },
  {
    name: "a node joins",
    victims: 0,
    target: NOTHING_ENDS,
    pairs: false,
    begin: async (arena) => {
      const atMs = performance.now();
      await arena.invite({ id: "n9" });
      return { ...harmless(AT_ONCE_MS), atMs };
    },
  },
  {
    name: "a node drains",
    victims: 0,
    guest: { id: "n9" },
    target: { kind: "nothing fails" },
    pairs: false,
    begin: async (arena) => {
      const node = guestOf(arena, "n9");
      const victim = await arena.victim(node);
      arena.closeToClients(node);
      arena.forget(node);
      const atMs = performance.now();
      node.signal("SIGTERM", "primary");
      // Its sessions stop one by one, each in a moment in which nobody asks it for anything.
      return { ...harmless(AT_ONCE_MS), atMs, mayLose: pidsOf([victim]), lives: victim.lives, end: () => node.exited };
    },
  },
  {
    name: `${CROWD} nodes join at once`,
    victims: 0,
    isLong: true,
    target: NOTHING_ENDS,
    pairs: false,
    begin: async (arena) => {
      const atMs = performance.now();
      const crowd = Array.from({ length: CROWD }, (_, at) => ({
        id: `c${at + 1}`,
        workers: 1,
        readyMs: CROWD_READY_MS,
      }));
      const readyMs = await Promise.all(
        crowd.map(async (wish) => {
          await arena.invite(wish);
          return performance.now() - atMs;
        }),
      );
      return { ...harmless(AT_ONCE_MS), atMs, reconnectedMs: Promise.resolve(readyMs) };
    },
  },
  {
    name: "a node's clock jumps by hours",
    victims: 0,
    guest: { id: "n8", env: { NODE_OPTIONS: `--import=${CLOCK}` } },
    target: NOTHING_ENDS,
    pairs: false,
    begin: async (arena) => {
      const node = guestOf(arena, "n8");
      return {
        ...harmless(CUT_MS),
        atMs: performance.now(),
        end: async () => {
          if (!node.lines.some(isWrongTime)) throw new Error("the clock of n8 did not jump");
        },
      };
    },
  },
  {
    name: "the disk for a node's log full",
    victims: 0,
    guest: { id: "n8", logFile: FULL_DISK },
    target: NOTHING_ENDS,
    pairs: false,
    begin: async () => ({ ...harmless(CUT_MS), atMs: performance.now() }),
  },
];

function guestOf(arena: Arena, id: string): PlacedNode {
  const node = arena.nodes.find((one) => one.id === id);
  if (node === undefined) throw new Error(`${id} is not there`);
  return node;
}

/** Of a line that was written within the last seconds. */
function isWrongTime(line: string): boolean {
  const [, hours, minutes, seconds] = LOG_TIME.exec(line) ?? [];
  if (hours === undefined) return false;
  const saidS = Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds);
  const offS = Math.abs(((Date.now() / 1_000) % DAY_S) - saidS);
  return Math.min(offS, DAY_S - offS) > WRONG_S;
}

/** Whether all nodes said of late that none of them reaches the registry. */
function serveOn({ nodes }: Arena): boolean {
  return nodes.every(({ lines }) => lines.slice(-LATELY_LINES).some((line) => line.includes("serving on")));
}

async function kill(arena: Arena, victims: readonly Victim[], whom: "primary" | "group"): Promise<Begun> {
  for (const { node } of victims) {
    arena.closeToClients(node);
    arena.forget(node);
  }
  const atMs = performance.now();
  for (const { node } of victims) node.signal("SIGKILL", whom);
  return {
    atMs,
    mayLose: pidsOf(victims),
    lives: livesOf(victims),
    silent: false,
    fatal: true,
    holdMs: AT_ONCE_MS,
    end: async () => void (await Promise.all(victims.map(({ node }) => node.exited))),
  };
}

function stopped(whom: "primary" | "group", ms: number, target: Target): FaultKind {
  return {
    name: `${whom === "group" ? "node" : "primary"} stopped for ${ms / 1_000} s`,
    victims: 1,
    target,
    // While NATS is down as well nobody is evicted, and nothing ends.
    pairs: whom === "group",
    begin: async (arena, victims) => {
      for (const { node } of victims) arena.closeToClients(node);
      const begun = silent(victims, ms);
      for (const { node } of victims) node.signal("SIGSTOP", whom);
      return {
        ...begun,
        // Its workers answer until the node's deadline, and are given up then.
        fatal: whom === "primary",
        end: async () => victims.forEach(({ node }) => node.signal("SIGCONT", whom)),
      };
    },
  };
}

function natsDown(ms: number): FaultKind {
  return {
    name: `NATS down for ${ms / 1_000} s`,
    victims: 0,
    target: NOTHING_ENDS,
    pairs: true,
    leaves: "no registry",
    begin: async ({ nats }) => {
      const atMs = performance.now();
      await nats.kill();
      return { ...harmless(ms), atMs, end: () => nats.start() };
    },
  };
}

/** @param whom the servers to kill, of the one that leads the registry and the others */
function natsKilled(
  name: string,
  ms: number,
  whom: (leader: number, others: readonly number[], draws: Draws) => readonly number[],
): FaultKind {
  return {
    name,
    victims: 0,
    needs: "replicas",
    target: NOTHING_ENDS,
    pairs: true,
    begin: async (arena, _victims, draws) => {
      const { nats } = arena;
      const leader = await arena.registryLeader();
      const others = nats.places.map((_, at) => at).filter((at) => at !== leader);
      const killed = whom(leader, others, draws);
      const atMs = performance.now();
      await Promise.all(killed.map((which) => nats.kill(which)));
      const end = async (): Promise<void> => {
        if (killed.length === 1 && killed.includes(await arena.registryLeader())) throw new Error("nobody was elected");
        await Promise.all(killed.map((which) => nats.start(which)));
      };
      return { ...harmless(ms), atMs, end };
    },
  };
}

function badWeather(name: string, weather: Weather, target?: Target): FaultKind {
  return {
    name,
    victims: 1,
    needs: "weather",
    ...(target === undefined ? {} : { target }),
    pairs: true,
    begin: async ({ network }, victims, draws) => {
      // A stream of draws of its own: how many packets there are must not change what is chosen next.
      const seed = Math.floor(draws.next() * 2 ** 32);
      for (const { node } of victims) await network.weather(node.place, weather, seed);
      return {
        ...silent(victims, CUT_MS),
        end: async () => {
          for (const { node } of victims) await network.weather(node.place, undefined, seed);
        },
      };
    },
  };
}

/** Packets of the victims to (`to`), from (`from`) or to and from (`both ways`) some others are dropped. Clients still reach them. */
function cutOff(
  name: string,
  whom: readonly ("nats" | "peers")[],
  way: "both ways" | "to" | "from",
  target?: Target,
): FaultKind {
  return {
    name: way === "both ways" ? `cut off from ${name}` : `packets ${way} ${name} lost`,
    victims: 1,
    needs: "cuts",
    ...(target === undefined ? {} : { target }),
    pairs: true,
    begin: async (arena, victims) => {
      const own = victims.map(({ node }) => node.place);
      const others = [
        ...(whom.includes("nats") ? arena.nats.places : []),
        ...(whom.includes("peers")
          ? arena.nodes.map(({ place }) => place).filter((place) => !own.includes(place))
          : []),
      ];
      const cuts = own.flatMap(({ address }) =>
        others.flatMap((other): Cut[] => [
          ...(way === "from" ? [] : [{ from: address, to: other.address }]),
          ...(way === "to" ? [] : [{ from: other.address, to: address }]),
        ]),
      );
      const undo = arena.cut(cuts);
      return { ...silent(victims, CUT_MS), end: async () => undo() };
    },
  };
}

function silent(victims: readonly Victim[], holdMs: number): Omit<Begun, "end"> {
  return {
    atMs: performance.now(),
    mayLose: pidsOf(victims),
    lives: livesOf(victims),
    silent: true,
    fatal: false,
    holdMs,
  };
}

function harmless(holdMs: number): Omit<Begun, "atMs"> {
  return { mayLose: [], lives: [], silent: false, fatal: false, holdMs, end: nothing };
}
