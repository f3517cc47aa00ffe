// One fault done to a mesh in containers, and what it cost: measured from what clients saw. As test/chaos/trial.ts, but for what cannot be
// seen or done from outside of a container.

import { setTimeout as sleep } from "node:timers/promises";
import type { Cost } from "../chaos/trial.ts";
import type { Fault } from "../cluster/history.ts";
import { hostsOf, type Asked } from "../cluster/traffic.ts";
import type { ComposeArena } from "./arena.ts";
import type { ComposeFault } from "./faults.ts";
import type { NodeContainer } from "./project.ts";

/** Beyond what a whole project takes to start again. */
const BACK_MS = 120_000;
/** Between two requests for a name that is away; longer where nobody is there who could answer. */
const AGAIN_MS = 25;
const AGAIN_NOBODY_MS = 250;

export interface ComposeJudged {
  readonly cost: Cost;
  /** For each victim when it was begun, and when it was dead. */
  readonly accounts: readonly Fault[];
}

/** The mesh must be whole, and is so again at the end. */
export async function composeTrial(arena: ComposeArena, fault: ComposeFault): Promise<ComposeJudged> {
  const { traffic, hello } = arena;
  const nodesBefore = arena.nodes.length;
  const from = await arena.newNames();
  const calm = traffic.history.slice(from);
  const instances = instancesOf(calm);
  const victims = victimsOf(arena, fault);
  const epochBefore = (await arena.view()).epoch;
  const mayLose = victims.flatMap(({ id }) =>
    fault.worker === undefined ? hello.processesOf(id) : [hello.process(id, fault.worker)],
  );
  const hosts = hostsOf(calm);
  const there = mayLose.flatMap((pid) => hosts.get(pid) ?? []);
  // Those who do not know that it will end would wait for its answers.
  if (fault.worker === undefined) for (const victim of victims) arena.closeToClients(victim);
  const beganMs = performance.now();
  const running = fault.run(arena, victims);
  const everybody = fault.victims === "all";
  // When nobody else is there, the names are back with the victims. Ports of the host may be others then.
  const others = everybody ? await running.then(() => arena.project.nodes()) : arena.gateways;
  const back = async (session: string): Promise<number> => {
    for (;;) {
      const one = await traffic.ask(session, arena.draws.pick(others));
      const { outcome } = one;
      if (outcome.status === "counted" && outcome.answer.instance !== instances.get(session)) return one.endedMs;
      if (performance.now() - beganMs > BACK_MS) {
        throw new Error(`${session} is not back through ${one.through}: ${JSON.stringify(outcome)}`);
      }
      await sleep(everybody ? AGAIN_NOBODY_MS : AGAIN_MS);
    }
  };
  const backAt = await Promise.all(there.map(back));
  const { atMs, deadMs = atMs, note } = await running;
  const overMs = performance.now();
  await arena.whole(fault.nodesAfter ?? nodesBefore);
  const after = traffic.history.slice(from);
  const now = instancesOf(after);
  const lost = [...instances].filter(([session, instance]) => now.get(session) !== instance).map(([name]) => name);
  const hit = new Set(victims.map(({ id }) => id));
  const elsewhere = (one: Asked): boolean =>
    instances.has(one.session) && !there.includes(one.session) && !hit.has(one.through);
  const during = after.filter((one) => one.endedMs >= atMs && one.startedMs <= overMs);
  const failed = during.filter((one) => one.outcome.status !== "counted");
  return {
    cost: {
      what: [fault.name, note === undefined ? "" : `(${note})`].join(" ").trim(),
      target: fault.target,
      there: victims.length === 0 ? instances.size : there.length,
      lost: lost.filter((session) => there.includes(session)).length,
      lostElsewhere: lost.filter((session) => !there.includes(session)).length,
      detectMs: undefined,
      backMs: backAt.map((endedMs) => endedMs - atMs),
      failedThere: failed.filter((one) => !elsewhere(one)).length,
      failedElsewhere: failed.filter(elsewhere).length,
      elsewhereMs: during.filter(elsewhere).map((one) => one.endedMs - one.startedMs),
      epochs: (await arena.view()).epoch - epochBefore,
    },
    accounts: victims.flatMap(({ id }) =>
      [beganMs, atMs, deadMs].map((fromMs) => ({
        what: fault.name,
        atMs: fromMs,
        overMs: performance.now(),
        pids: mayLose,
        node: id,
        ...((fault.silent === true || everybody) && { silent: true as const }),
        ...(everybody && { everywhere: true as const }),
      })),
    ),
  };
}

function victimsOf(arena: ComposeArena, { victims }: ComposeFault): readonly NodeContainer[] {
  switch (victims) {
    case "none":
      return [];
    case "one":
      return [arena.draws.pick(arena.nodes)];
    case "last two":
      return arena.nodes.slice(-2);
    case "all":
      return arena.nodes;
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
