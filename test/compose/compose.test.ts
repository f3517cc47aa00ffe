// The real docker-compose.yml and Dockerfile with a real engine: what a person does with them on the first day, and what happens to containers.
// COMPOSE_SEED repeats the choices of a run.

import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { costTable, meets } from "../chaos/cost-table.ts";
import type { Cost } from "../chaos/trial.ts";
import { violations, type Fault } from "../cluster/history.ts";
import { ComposeArena } from "./arena.ts";
import { composeFaults } from "./faults.ts";
import { composeTrial } from "./trial.ts";

const SEED = Number(process.env["COMPOSE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const NODES = 3;
const SHOWN = 20;
/** An image is built. */
const UP_MS = 300_000;

const why = inject("noEngine");
if (why !== "") console.log(`not tested here: docker compose (${why})`);

describe.skipIf(why !== "")("docker compose", () => {
  let arena: ComposeArena;
  const costs: Cost[] = [];
  const accounts: Fault[] = [];

  beforeAll(async () => {
    const atMs = performance.now();
    arena = await ComposeArena.up({ nodes: NODES, seed: SEED });
    console.log(`COMPOSE_SEED=${SEED}; built and up in ${((performance.now() - atMs) / 1_000).toFixed(0)} s`);
  }, UP_MS);
  afterAll(async () => {
    await arena?.close();
    if (costs.length > 0) console.log(costTable(costs));
  }, UP_MS);

  test("a counter counts on through the port of every node", async () => {
    const counts: number[] = [];
    for (const { gateway } of arena.nodes) {
      const answer = await fetch(`${gateway}/sessions/counter/everywhere`);
      counts.push(((await answer.json()) as { count: number }).count);
    }
    expect(counts).toEqual([1, 2, 3]);
  });

  test("the command of the image asks the mesh that the container belongs to", async () => {
    const table = await arena.project.compose("exec", "-T", "node", "mesh", "node", "list");
    for (const { id } of arena.nodes) expect(table).toContain(id);
  });

  test.for(composeFaults)("$name", async (fault) => {
    const judged = await composeTrial(arena, fault);
    const { cost } = judged;
    costs.push(cost);
    accounts.push(...judged.accounts);
    expect(cost.lostElsewhere).toBe(0);
    // Times are for the table: a busy machine makes them long. What ends is not a matter of time.
    const { target } = cost;
    if (target?.kind === "nothing ends" || target?.kind === "nothing fails") expect(meets(cost, target)).toBe(true);
  });

  test("all that clients saw keeps the promises of the mesh", async () => {
    const history = await arena.traffic.stop();
    expect(violations(history, accounts).slice(0, SHOWN)).toEqual([]);
  });
});
