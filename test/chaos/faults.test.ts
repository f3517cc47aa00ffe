// The most telling faults of the list, each once, against real nodes with a network namespace each where the machine allows: what may be
// lost is lost, and nothing else. All faults and pairs of them: `node test/chaos/run.ts`. CHAOS_SEED repeats the choices of a run.

import { expect, test } from "vitest";
import { violations, type Fault } from "../cluster/history.ts";
import { seeded } from "../cluster/seeded.ts";
import { Arena } from "./arena.ts";
import { costTable, machineOf, meets } from "./cost-table.ts";
import { faultKinds, SHORT } from "./faults.ts";
import { trial, type Cost } from "./trial.ts";

const SEED = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** Those that need namespaces are left out where there are none. */
const TELLING = [
  "worker killed",
  "node killed",
  "half of the nodes killed",
  "power lost, silently",
  "cut off from NATS",
  "packets to NATS and the nodes lost",
  "NATS restarted, its store wiped",
  "NATS down for 10 s",
  "connection storm",
  "a node joins",
  "a node drains",
];
const LIMIT_MS = 240_000;
const SHOWN = 20;

test("each fault costs what it hits, and no name ever has two servers", { timeout: LIMIT_MS }, async () => {
  const draws = seeded(SEED);
  const arena = await Arena.open({ seed: SEED + 1, natsServers: 1 });
  const costs: Cost[] = [];
  const accounts: Fault[] = [];
  const broken: string[] = [];
  try {
    console.log(`CHAOS_SEED=${SEED}\n${machineOf(arena)}`);
    await arena.whole();
    for (const kind of faultKinds) {
      if (!TELLING.includes(kind.name) || (kind.needs === "cuts" && arena.network.kind === "loopback")) continue;
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
  const kinds = ["nothing ends", "nothing fails"];
  const unhurt = costs.filter(({ target }) => target !== undefined && kinds.includes(target.kind));
  expect(unhurt.filter((cost) => cost.target !== undefined && !meets(cost, cost.target))).toEqual([]);
});
