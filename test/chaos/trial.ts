// One fault, or two at once, done to a mesh under load, and what it cost: measured from what clients saw, beside when the view noticed.

import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../cluster/eventually.ts";
import type { Fault } from "../cluster/history.ts";
import type { Draws } from "../cluster/seeded.ts";
import { hostsOf, type Asked } from "../cluster/traffic.ts";
import type { Arena, Victim } from "./arena.ts";
import type { Begun, FaultKind, Scale, Target } from "./faults.ts";

/** Beyond every wait of the mesh: 78 s when more than half of a view is silent. */
const BACK_MS = 100_000;
/** Requests that wait in a node that fell silent, to be served by it if nothing keeps it from that when it wakes up. */
const HELD_MAX = 40;
/** An answer that left in time has arrived by then. */
const ARRIVED_MS = 250;
/** Between two new sessions that are asked for during a fault. */
const FRESH_EVERY_MS = 100;

export interface Cost {
  readonly what: string;
  readonly target: Target | undefined;
  /** Names whose sessions the fault may have cost; all names when it hits no node. */
  readonly there: number;
  readonly lost: number;
  readonly lostElsewhere: number;
  readonly detectMs: number | undefined;
  /** Of each name there, from the fault until it counted again; of each connection, when the fault is about those. */
  readonly backMs: readonly number[];
  readonly failedThere: number;
  readonly failedElsewhere: number;
  /** Of each request elsewhere, from the fault until all worked again. */
  readonly elsewhereMs: readonly number[];
  /** Changes of the view. */
  readonly epochs: number;
}

export interface Judged {
  readonly cost: Cost;
  /** What explains failures, for the judge of the whole history. */
  readonly accounts: readonly Fault[];
  /** Promises that this fault broke and that only its times can show. */
  readonly broken: readonly string[];
}

/** The mesh must be whole, and is so again at the end. */
export async function trial(arena: Arena, kinds: readonly FaultKind[], draws: Draws, scale: Scale): Promise<Judged> {
  const { traffic } = arena;
  await arena.receive(kinds.find(({ guest }) => guest !== undefined)?.guest);
  const from = await arena.newNames();
  const names = new Set(arena.names);
  const calm = traffic.history.slice(from).filter((one) => names.has(one.session));
  const hosts = hostsOf(calm);
  const instances = instancesOf(calm);
  const groups = await victimsOf(arena, kinds, draws);
  const epochBefore = arena.views.last?.epoch ?? 0;
  const faults = await Promise.all(
    kinds.map(async (kind, at) => {
      const victims = groups[at] ?? [];
      return { kind, victims, begun: await kind.begin(arena, victims, draws, scale) };
    }),
  );
  const atMs = Math.min(...faults.map(({ begun }) => begun.atMs));
  const pids = new Set(faults.flatMap(({ begun }) => begun.mayLose));
  const there = [...pids].flatMap((pid) => hosts.get(pid) ?? []);
  // A name works again when it does for those who are not cut off themselves.
  const hit = new Set(groups.flat().map(({ node }) => node.id));
  const doomed = new Set(faults.flatMap(({ begun }) => (begun.fatal ? begun.mayLose : [])));
  const back = Promise.all(
    there.map(async (session) => {
      const asked = await eventually(async () => {
        const one = await traffic.ask(session, draws.pick(arena.gateways.filter(({ id }) => !hit.has(id))));
        if (one.outcome.status === "counted" && !doomed.has(one.outcome.answer.pid)) return one;
        throw new Error(`${session} through ${one.through}: ${JSON.stringify(one.outcome)}`);
      }, BACK_MS);
      return asked.endedMs - atMs;
    }),
  );
  for (const { begun, victims } of faults) if (begun.silent) leaveWith(arena, victims, hosts);
  const fresh = new AbortController();
  const asking = askForNew(arena, fresh.signal);
  try {
    await Promise.all(
      faults.map(async ({ begun }) => {
        await sleep(Math.max(0, begun.atMs + begun.holdMs - performance.now()));
        await begun.end();
      }),
    );
    const reconnectedMs = await Promise.all(faults.flatMap(({ begun }) => begun.reconnectedMs ?? []));
    const namesBackMs = await back;
    const overMs = performance.now();
    fresh.abort();
    await asking;
    await arena.whole();
    const after = traffic.history.slice(from);
    return judge({
      what: faults.map(({ kind, victims }) => [kind.name, ...victims.map(({ node }) => node.id)].join(" ")),
      kinds,
      faults,
      atMs,
      overMs,
      wholeMs: performance.now(),
      pids,
      there: new Set(there),
      backMs: [...namesBackMs, ...reconnectedMs.flat()],
      instances,
      after,
      detectMs: detected(arena, faults, atMs),
      epochs: (arena.views.last?.epoch ?? 0) - epochBefore,
    });
  } finally {
    fresh.abort();
    await Promise.allSettled([asking, back]);
  }
}

interface Done {
  readonly what: readonly string[];
  readonly kinds: readonly FaultKind[];
  readonly faults: readonly { readonly kind: FaultKind; readonly victims: readonly Victim[]; readonly begun: Begun }[];
  readonly atMs: number;
  readonly overMs: number;
  readonly wholeMs: number;
  readonly pids: ReadonlySet<number>;
  readonly there: ReadonlySet<string>;
  readonly backMs: readonly number[];
  readonly instances: ReadonlyMap<string, string>;
  /** Since the calm before. */
  readonly after: readonly Asked[];
  readonly detectMs: number | undefined;
  readonly epochs: number;
}

function judge(done: Done): Judged {
  const { atMs, overMs, there, instances, after, pids, detectMs } = done;
  const now = instancesOf(after);
  const lost = [...instances]
    .filter(([session, instance]) => now.get(session) !== instance)
    .map(([session]) => session);
  const victims = new Set(done.faults.flatMap((fault) => fault.victims.map(({ node }) => node.id)));
  const during = after.filter((one) => one.endedMs >= atMs && one.startedMs <= overMs);
  // A new name needs the owner of its partition, which may be a victim: it counts as hit.
  const isElsewhere = (one: Asked): boolean =>
    victims.size === 0
      ? !there.has(one.session)
      : instances.has(one.session) && !there.has(one.session) && !victims.has(one.through);
  const elsewhere = during.filter(isElsewhere);
  const failed = during.filter((one) => one.outcome.status !== "counted");
  const only = done.kinds.length === 1 ? done.kinds[0] : undefined;
  const cost: Cost = {
    what: done.what.join(" + "),
    target: only?.target,
    there: there.size > 0 || victims.size > 0 ? there.size : instances.size,
    lost: lost.filter((session) => there.has(session)).length,
    lostElsewhere: lost.filter((session) => !there.has(session)).length,
    detectMs: detectMs === undefined ? undefined : detectMs - atMs,
    backMs: done.backMs,
    failedThere: failed.filter((one) => !isElsewhere(one)).length,
    failedElsewhere: failed.filter(isElsewhere).length,
    elsewhereMs: elsewhere.map((one) => one.endedMs - one.startedMs),
    epochs: done.epochs,
  };
  // Once others took over, it starts nothing and lets nothing out. Answers that passed other nodes may have been under way.
  const late = after.filter(
    ({ outcome, startedMs, endedMs, through }) =>
      detectMs !== undefined &&
      outcome.status === "counted" &&
      pids.has(outcome.answer.pid) &&
      (startedMs > detectMs || (victims.has(through) && endedMs > detectMs + ARRIVED_MS)),
  );
  const left = new Set(done.faults.map(({ kind }) => kind.leaves));
  const held = left.has("no registry") && left.has("no answer");
  return {
    cost,
    accounts: done.faults.flatMap(({ kind, begun, victims: hit }) => {
      const account = { what: kind.name, atMs: begun.atMs, overMs: done.wholeMs, pids: begun.mayLose };
      const mark = { ...(begun.silent && { silent: true as const }), ...(held && { everywhere: true as const }) };
      if (hit.length === 0 && begun.mayLose.length > 0) return [{ ...account, node: "", ...mark }];
      return begun.mayLose.length === 0 ? [] : hit.map(({ node }) => ({ ...account, node: node.id, ...mark }));
    }),
    broken: [
      ...(cost.lostElsewhere > 0 ? [`${cost.what}: ${cost.lostElsewhere} sessions were lost that it did not hit`] : []),
      ...(late.length > 0 ? [`${cost.what}: ${late.length} answers of processes that the view had given up`] : []),
    ],
  };
}

/** Asks the victims themselves for sessions that they host, and does not wait for it: the answers may take until the end of the fault, or never come. */
function leaveWith(arena: Arena, victims: readonly Victim[], hosts: ReadonlyMap<number, readonly string[]>): void {
  for (const { node, workers } of victims) {
    const names = workers.flatMap(({ pid }) => hosts.get(pid) ?? []);
    for (const session of names.slice(0, HELD_MAX)) void arena.traffic.ask(session, node);
  }
}

/** When the view first lacked all of what the faults took, on whose silence or end others took over. */
function detected(arena: Arena, faults: Done["faults"], atMs: number): number | undefined {
  const lives = faults.flatMap(({ begun }) => begun.lives);
  return lives.length === 0 ? undefined : arena.views.firstWithout(lives, atMs);
}

async function victimsOf(arena: Arena, kinds: readonly FaultKind[], draws: Draws): Promise<Victim[][]> {
  const left = [...arena.nodes];
  const groups: Victim[][] = [];
  for (const kind of kinds) {
    const group: Victim[] = [];
    for (let wanted = kind.victims; wanted > 0; wanted--) {
      const node = draws.pick(left);
      left.splice(left.indexOf(node), 1);
      group.push(await arena.victim(node));
    }
    groups.push(group);
  }
  return groups;
}

/** Names that nobody has asked for before, one after the other. */
async function askForNew(arena: Arena, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await arena.traffic.ask(`counter/new${arena.traffic.history.length}`);
    await sleep(FRESH_EVERY_MS);
  }
}

/** The server that answered last, by name. */
function instancesOf(history: readonly Asked[]): ReadonlyMap<string, string> {
  const last = new Map<string, { readonly endedMs: number; readonly instance: string }>();
  for (const { session, endedMs, outcome } of history) {
    if (outcome.status !== "counted" || (last.get(session)?.endedMs ?? 0) > endedMs) continue;
    last.set(session, { endedMs, instance: outcome.answer.instance });
  }
  return new Map([...last].map(([session, { instance }]) => [session, instance]));
}
