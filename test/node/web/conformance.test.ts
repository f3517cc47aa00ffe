// The classes of sessions beside Node's own, case by case (test/fixtures/web-cases.ts): the same value, or the same error. Each world is a
// process of its own, since what is frozen or replaced stays so.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";

interface Report {
  readonly results: Readonly<Record<string, unknown>>;
  /** Errors that nobody caught. */
  readonly strays: readonly string[];
}

/** What differs, and why: see docs/isolation.md. */
const KNOWN = [
  // Node marks each object as not to be cloned, which would cost a light one as much as making it does.
  /^(new Response|Response\.json|a Response with a stream|an answer|a request|a GET): structuredClone$/,
];
const START_LIMIT_MS = 60_000;

async function run(world: "node" | "unfrozen" | "session"): Promise<Report> {
  const fixture = fileURLToPath(new URL("../../fixtures/web-conformance.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", fixture, world], {
    maxBuffer: 16 * 1024 * 1024,
    timeout: START_LIMIT_MS,
  });
  return JSON.parse(stdout) as Report;
}

let node: Report;
beforeAll(async () => {
  node = await run("node");
}, START_LIMIT_MS);

for (const world of ["session", "unfrozen"] as const) {
  test(
    `Request, Response, Headers and fetch do what Node's own do: ${world}`,
    async () => {
      const { results, strays } = await run(world);
      const names = Object.keys(node.results);
      expect(names.length).toBeGreaterThan(1_500);
      expect(strays).toEqual(node.strays);
      const differ = names
        .filter((name) => !KNOWN.some((known) => known.test(name)))
        .filter((name) => JSON.stringify(results[name]) !== JSON.stringify(node.results[name]))
        .map((name) => ({ name, here: results[name], node: node.results[name] }));
      expect(differ).toEqual([]);
    },
    START_LIMIT_MS,
  );
}

test("cases are told apart by what they give", () => {
  expect(new Set(Object.values(node.results).map((result) => JSON.stringify(result))).size).toBeGreaterThan(500);
});
