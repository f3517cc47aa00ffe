// A Docker engine for tests that need one: one that answers; where MESH_TEST_ENGINE allows it, one that test/infra/engine.sh starts.
// Its variables go into the environment, where the docker command, testcontainers and every process of a test find them.

import { spawnSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** Why there is none, or "". */
    readonly noEngine: string;
  }
}

/** Debian's engine, compose and the images take minutes when they are made for the first time. */
const START_MS = 900_000;
const STOP_MS = 60_000;

const SCRIPT = path.join(import.meta.dirname, "engine.sh");
/** Stays between runs: what is in it took minutes. */
const FOLDER = process.env["MESH_TEST_ENGINE_FOLDER"] ?? path.join(os.tmpdir(), "sessionmesh-engine");

/** Vitest calls it once before the tests of a project, and what it returns after them. */
export default function setup(project: TestProject): (() => void) | undefined {
  const wanted = process.env["MESH_TEST_ENGINE"];
  if (wanted === undefined && spawnSync("docker", ["version"], { stdio: "ignore" }).status !== 0) {
    project.provide("noEngine", "no Docker engine answers; MESH_TEST_ENGINE=start starts one, as root on Debian");
    return undefined;
  }
  const started = spawnSync(SCRIPT, ["start", FOLDER], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: START_MS,
  });
  if (started.status !== 0) {
    // 3: it cannot be had here. All else is a fault of ours or of the machine, and must not pass as a skipped test.
    if (started.status !== 3) throw new Error(`${SCRIPT} ended with ${started.status ?? started.signal}`);
    project.provide("noEngine", "no Docker engine can be had here");
    return undefined;
  }
  for (const [, name = "", value = ""] of started.stdout.matchAll(/(\w+)=(\S+)/g)) process.env[name] = value;
  project.provide("noEngine", "");
  return () => void spawnSync(SCRIPT, ["stop", FOLDER], { stdio: "inherit", timeout: STOP_MS });
}
