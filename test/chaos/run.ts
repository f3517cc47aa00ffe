// Every fault of the list, then pairs of them as the seed says, until the time is up: `node test/chaos/run.ts --minutes 10 --seed 7`. Prints
// what each cost and which promises were broken, and ends with 1 when any was.

import { parseArgs } from "node:util";
import { violations, type Fault } from "../cluster/history.ts";
import { seeded } from "../cluster/seeded.ts";
import { Arena } from "./arena.ts";
import { costTable, machineOf } from "./cost-table.ts";
import { faultKinds, LONG, SHORT, type FaultKind } from "./faults.ts";
import { replicatingNats } from "./placed-nats.ts";
import { trial, type Cost } from "./trial.ts";

const LONG_FROM_MINUTES = 8;
const BROKEN_SHOWN = 30;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "8" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    /** A part of the name of the faults wanted, alone; several times for several. */
    only: { type: "string", multiple: true, default: [] },
    /** Pairs alone. */
    pairs: { type: "boolean", default: false },
    /** 1, or 3 that replicate. */
    nats: { type: "string", default: "1" },
    /** A node, as `n1`, that does not stop in time: promises must be found broken then. */
    careless: { type: "string" },
    /** The last lines of every node at the end. */
    log: { type: "boolean", default: false },
  },
});

// What is to be removed is removed at the exit, which these signals skip by default.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
process.exitCode = await main();

async function main(): Promise<number> {
  const replicating = replicatingNats();
  if (typeof replicating === "string") say(`left out: three NATS servers (${replicating})`);
  if (values.nats === "3" && typeof replicating === "string") return 0;
  const minutes = Number(values.minutes);
  const scale = minutes < LONG_FROM_MINUTES ? SHORT : LONG;
  const untilMs = performance.now() + minutes * 60_000;
  const draws = seeded(Number(values.seed));
  const arena = await Arena.open({
    seed: Number(values.seed) + 1,
    natsServers: values.nats === "3" ? 3 : 1,
    careless: values.careless,
  });
  say(`${machineOf(arena)}\nseed ${values.seed}`);
  const costs: Cost[] = [];
  const accounts: Fault[] = [];
  const broken: string[] = [];
  try {
    await arena.whole();
    for (const kinds of order(arena, draws, minutes)) {
      if (performance.now() > untilMs) break;
      const judged = await trial(arena, kinds, draws, scale);
      costs.push(judged.cost);
      accounts.push(...judged.accounts);
      broken.push(...judged.broken);
      say(costTable([judged.cost]).split("\n").at(-1) ?? "");
    }
  } catch (error) {
    broken.push(`the mesh did not get whole again: ${error instanceof Error ? error.message : String(error)}`);
    for (const node of arena.nodes) say(node.lines.slice(-15).join("\n"));
  } finally {
    if (values.log) for (const node of arena.nodes) say(node.lines.join("\n"));
    await arena.close();
  }
  broken.push(...violations(arena.traffic.history, accounts));
  say(`\n${costTable(costs)}\n\n${arena.traffic.history.length} requests; ${broken.length} promises broken`);
  for (const sentence of broken.slice(0, BROKEN_SHOWN)) say(`  ${sentence}`);
  return broken.length > 0 ? 1 : 0;
}

/** What this machine can do of the list, then pairs without an end. */
function* order(arena: Arena, draws: ReturnType<typeof seeded>, minutes: number): Generator<readonly FaultKind[]> {
  const able = faultKinds.filter(({ needs, name, isLong }) => {
    if (isLong === true && values.only.length === 0 && minutes < LONG_FROM_MINUTES) return false;
    const why = whyNot(arena, needs);
    if (why !== undefined) say(`left out: ${name} (${why})`);
    return why === undefined && (values.only.length === 0 || values.only.some((part) => name.includes(part)));
  });
  if (!values.pairs) for (const kind of able) yield [kind];
  const pairable = able.filter(({ pairs }) => pairs);
  if (minutes === 0 || (values.only.length > 0 && !values.pairs) || pairable.length < 2) return;
  for (;;) {
    const first = draws.pick(pairable);
    const second = draws.pick(pairable.filter((kind) => kind !== first));
    // Two ends of one NATS server are one.
    if (first.victims + second.victims > 0) yield [first, second];
  }
}

function whyNot({ network, nats }: Arena, needs: FaultKind["needs"]): string | undefined {
  switch (needs) {
    case undefined:
      return undefined;
    case "cuts":
      return network.kind === "namespaces" ? undefined : "needs network namespaces";
    case "weather":
      return network.weatherBy === undefined ? "needs network namespaces, and sch_netem or TAP devices" : undefined;
    case "disk":
      return nats.disk === undefined ? "needs the right to mount" : undefined;
    case "replicas":
      return nats.places.length > 1 ? undefined : "needs three NATS servers: --nats 3";
  }
}

function say(text: string): void {
  console.log(text);
}
