// What a person or an orchestrator does to containers, one entry a row of the table: whom it hits, how it ends, and what may be lost by it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Target } from "../chaos/faults.ts";
import type { ComposeArena } from "./arena.ts";
import type { NodeContainer } from "./project.ts";

export interface ComposeFault {
  readonly name: string;
  /** All: in the order of their names. */
  readonly victims: "none" | "one" | "last two" | "all";
  readonly target?: Target;
  /** The victims do not end, or nothing tells of it. */
  readonly silent?: true;
  /** How many nodes there are afterwards. */
  readonly nodesAfter?: number;
  /** One worker of the victim, and not all. */
  readonly worker?: number;
  /** Does it, and undoes it. */
  run(arena: ComposeArena, victims: readonly NodeContainer[]): Promise<Done>;
}

export interface Done {
  /** When it began. */
  readonly atMs: number;
  /** When all that it kills was dead: an engine takes a while for that. */
  readonly deadMs?: number;
  /** What the row says besides. */
  readonly note?: string;
}

/** Longer than evictMs: others have taken over. */
const SILENT_MS = 6_000;
/** NATS is asked for leases every half second. */
const CALM_MS = 3_000;

const NODE_BACK: Target = { kind: "back", ms: 1_000 };
const SILENT_BACK: Target = { kind: "back", ms: 4_000 };
const NOTHING_ENDS: Target = { kind: "nothing ends" };
const NOTHING_FAILS: Target = { kind: "nothing fails" };

/** Kills a worker as soon as it is told to: starting a process in a container takes a while. */
const WORKER_KILLER = `
const { workers } = await (await fetch("http://127.0.0.1:9080/_mesh/status")).json();
process.stdin.once("data", () => { process.kill(workers[0].pid, "SIGKILL"); process.exit(0); });
console.log("ready");
`;

const timed = async (what: () => Promise<unknown>): Promise<string> => {
  const atMs = performance.now();
  await what();
  return `${((performance.now() - atMs) / 1_000).toFixed(1)} s`;
};

/** In the order of the table. */
export const composeFaults: readonly ComposeFault[] = [
  {
    name: "scale 3 to 5",
    victims: "none",
    target: NOTHING_ENDS,
    nodesAfter: 5,
    run: async ({ project }) => {
      const atMs = performance.now();
      await project.scale(5);
      return { atMs };
    },
  },
  {
    name: "scale 5 to 3",
    victims: "last two",
    target: NOTHING_FAILS,
    nodesAfter: 3,
    run: async ({ project }) => {
      const atMs = performance.now();
      const took = await timed(() => project.scale(3));
      return { atMs, note: `took ${took}` };
    },
  },
  {
    name: "docker kill, start",
    victims: "one",
    target: NODE_BACK,
    run: async ({ engine }, victims) => {
      const containers = victims.map(({ id }) => engine.container.getById(id));
      const atMs = performance.now();
      await Promise.all(containers.map((one) => one.kill()));
      const deadMs = performance.now();
      await sleep(CALM_MS);
      await Promise.all(containers.map((one) => one.start()));
      return { atMs, deadMs };
    },
  },
  {
    name: "kill -9 of a worker",
    victims: "one",
    worker: 0,
    target: NODE_BACK,
    run: async (_arena, victims) => {
      const killers = victims.map(({ name }) =>
        spawn("docker", ["exec", "-i", name, "node", "--input-type=module", "-e", WORKER_KILLER], {
          stdio: ["pipe", "pipe", "inherit"],
        }),
      );
      await Promise.all(killers.map(({ stdout }) => once(stdout, "data")));
      const atMs = performance.now();
      await Promise.all(
        killers.map(async (killer) => {
          killer.stdin.write("now\n");
          await once(killer, "exit");
        }),
      );
      return { atMs, deadMs: performance.now() };
    },
  },
  {
    name: "compose stop node, start node",
    victims: "all",
    run: async ({ project }) => {
      const atMs = performance.now();
      const took = await timed(() => project.compose("stop", "node"));
      await project.compose("start", "node");
      return { atMs, note: `stopped in ${took}` };
    },
  },
  {
    name: "compose restart",
    victims: "all",
    run: async ({ project }) => {
      const atMs = performance.now();
      const took = await timed(() => project.compose("restart"));
      return { atMs, note: `took ${took}` };
    },
  },
  {
    name: "NATS restarted",
    victims: "none",
    target: NOTHING_ENDS,
    run: async ({ project }) => {
      const atMs = performance.now();
      await project.compose("restart", "nats");
      await sleep(CALM_MS);
      return { atMs };
    },
  },
  {
    name: "network disconnected, connected",
    victims: "one",
    silent: true,
    target: SILENT_BACK,
    run: async ({ engine, project }, victims) => {
      const network = engine.network.getById(`${project.name}_default`);
      const atMs = performance.now();
      for (const { id } of victims) await network.disconnect({ Container: id });
      await sleep(SILENT_MS);
      for (const { id } of victims) await network.connect({ Container: id });
      return { atMs };
    },
  },
  {
    name: "pause, unpause",
    victims: "one",
    silent: true,
    target: SILENT_BACK,
    run: async ({ engine }, victims) => {
      const containers = victims.map(({ id }) => engine.container.getById(id));
      const atMs = performance.now();
      await Promise.all(containers.map((one) => one.pause()));
      await sleep(SILENT_MS);
      await Promise.all(containers.map((one) => one.unpause()));
      return { atMs };
    },
  },
];
