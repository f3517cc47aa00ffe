// Five projects: `unit` needs nothing but this process and runs in parallel, `cluster` starts real nodes with NATS and Redis,
// `package` installs the package and runs it, `chaos` kills nodes, `compose` does so with containers. All but the first run one
// file at a time: their subject is time-outs, which a busy machine would fake.

import path from "node:path";
import { defineConfig } from "vitest/config";

/** Unit tests take milliseconds; some wait for time-outs of the code, on a machine that may be busy. */
const UNIT_TIMEOUT_MS = 15_000;
/** A cluster starts in seconds; a test that needs a minute has lost something. */
const CLUSTER_TIMEOUT_MS = 60_000;
/** Packs, and installs from npm what is not in its cache yet. */
const PACKAGE_TIMEOUT_MS = 120_000;
/** A chaos test watches a mesh through several faults and the calm after them. */
const CHAOS_TIMEOUT_MS = 180_000;
/** Containers stop within their grace of 30 s and start again. */
const COMPOSE_TIMEOUT_MS = 300_000;

/** In a checkout the package's own name means its source: `exports` of package.json names what `npm run build` makes. */
const ownName = { alias: { sessionmesh: path.join(import.meta.dirname, "node/sessionmesh.ts") } };

const alone = { fileParallelism: false, pool: "forks", maxWorkers: 1 } as const;

export default defineConfig({
  test: {
    projects: [
      {
        resolve: ownName,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/cluster/**", "test/chaos/**", "test/compose/**", "test/package/**", "test/fixtures/**"],
          testTimeout: UNIT_TIMEOUT_MS,
          pool: "forks",
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        resolve: ownName,
        test: {
          name: "cluster",
          include: ["test/cluster/**/*.test.ts"],
          testTimeout: CLUSTER_TIMEOUT_MS,
          hookTimeout: CLUSTER_TIMEOUT_MS,
          sequence: { groupOrder: 1 },
          ...alone,
        },
      },
      {
        test: {
          name: "package",
          include: ["test/package/**/*.test.ts"],
          testTimeout: CLUSTER_TIMEOUT_MS,
          hookTimeout: PACKAGE_TIMEOUT_MS,
          sequence: { groupOrder: 2 },
          ...alone,
        },
      },
      {
        resolve: ownName,
        test: {
          name: "chaos",
          include: ["test/chaos/**/*.test.ts"],
          testTimeout: CHAOS_TIMEOUT_MS,
          hookTimeout: CHAOS_TIMEOUT_MS,
          sequence: { groupOrder: 3 },
          ...alone,
        },
      },
      {
        test: {
          name: "compose",
          include: ["test/compose/**/*.test.ts"],
          globalSetup: ["test/infra/engine.ts"],
          testTimeout: COMPOSE_TIMEOUT_MS,
          sequence: { groupOrder: 4 },
          ...alone,
        },
      },
    ],
  },
});
