// Faults of the list, each once, as a test: what may be lost is lost, and nothing else. CHAOS_SEED repeats the choices of a run.

import { expect } from "vitest";
import { violations, type Fault } from "../cluster/history.ts";
import { seeded } from "../cluster/seeded.ts";
import { Arena } from "./arena.ts";
import { costTable, machineOf, meets } from "./cost-table.ts";
import { faultKinds, SHORT } from "./faults.ts";
import { trial, type Cost } from "./trial.ts";

const SEED = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const SHOWN = 20;

/** For the time-outs of tests: those that are run take less than half of it. */
export const EACH_ONCE_LIMIT_MS = 240_000;

/** @param names of faults; those that need network namespaces are left out where there are none */
export async function eachOnce(names: readonly string[], natsServers: 1 | 3): Promise<void> {
  const kinds = names.map((name) => {
    const kind = faultKinds.find((one) => one.name === name);
    if (kind === undefined) throw new Error(`there is no fault "${name}"`);
    return kind;
  });
  const draws = seeded(SEED);
  const arena = await Arena.open({ seed: SEED + 1, natsServers });
  const costs: Cost[] = [];
  const accounts: Fault[] = [];
  const broken: string[] = [];
  try {
    console.log(`CHAOS_SEED=${SEED}\n${machineOf(arena)}`);
    await arena.whole();
    for (const kind of kinds) {
      if (kind.needs === "cuts" && arena.network.kind === "loopback") continue;
      const judged = await trial(arena, [kind], draws, SHORT);
      costs.push(judged.cost);
      accounts.push(...judged.accounts);
      broken.push(...judged.broken);
    }
  } finally {
    await arena.close();
    console.log(costTable(costs));
  }
  broken.push(...violations(arena.traffic.history, accounts));
  expect(broken.slice(0, SHOWN)).toEqual([]);
  // Times are for the table: a busy machine makes them long. What ends is not a matter of time.
  const promises = ["nothing ends", "nothing fails"];
  const unhurt = costs.filter(({ target }) => target !== undefined && promises.includes(target.kind));
  expect(unhurt.filter((cost) => cost.target !== undefined && !meets(cost, cost.target))).toEqual([]);
}
