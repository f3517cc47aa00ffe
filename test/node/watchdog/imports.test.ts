// The first import of something big in a handler, in a process of its own: code that is loaded is no loop.

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Outcome, Plan } from "../../fixtures/imports.ts";

/** So small that even a fast machine takes longer to load what is here. */
const TURN_BUDGET_MS = 100;
/** Beyond what a busy machine takes. */
const ENOUGH_MS = 60_000;
const MODULES = 1_200;
const LIMIT_MS = 90_000;

const folder = mkdtempSync(path.join(tmpdir(), "mesh-imports-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** A tree of modules, each of which imports two others. */
function tree(name: string, link: (at: number) => string, own: string): string {
  for (let at = 0; at < MODULES; at++) {
    const children = [2 * at + 1, 2 * at + 2].filter((child) => child < MODULES);
    write(`${name}/m${at}.js`, `${children.map(link).join("\n")}\n${own}`);
  }
  return path.join(folder, name, "m0.js");
}

const dataModule = (text: string): string => `data:text/javascript,${encodeURIComponent(text)}`;

const functions = (count: number): string =>
  Array.from({ length: count }, (_, at) => `export function f${at}(a) { return [a, ${at}].map((x) => x + 1); }`).join(
    "\n",
  );

let files: Readonly<Record<"esm" | "cjs" | "spinning" | "nested" | "late" | "cjsSpinning", string>>;
beforeAll(() => {
  for (const name of ["esm", "spins"]) write(`${name}/package.json`, '{ "type": "module" }');
  write("cjs/package.json", '{ "type": "commonjs" }');
  files = {
    esm: tree("esm", (at) => `import "./m${at}.js";`, functions(60)),
    cjs: tree("cjs", (at) => `require("./m${at}.js");`, functions(60).replaceAll("export ", "")),
    spinning: write("spins/top.js", "for (;;);"),
    nested: write("spins/nested.js", 'import "./top-of-another.js";'),
    late: write("spins/late.js", "await null; for (;;);"),
    cjsSpinning: write("cjs/top.js", "for (;;);"),
  };
  write("spins/top-of-another.js", "const spin = () => { for (;;); }; spin();");
}, LIMIT_MS);

/** Turn budgets are short here, so that loading takes several: on a machine that is starved one may go by without a module more. */
const OPTIONS = { timeout: LIMIT_MS, retry: 4 };

async function load(plan: Omit<Plan, "turnBudgetMs">, turnBudgetMs = TURN_BUDGET_MS): Promise<readonly Outcome[]> {
  const fixture = fileURLToPath(new URL("../../fixtures/imports.ts", import.meta.url));
  const flags = ["--no-warnings", "--no-force-async-hooks-checks", "--no-use-osr"];
  const argument = JSON.stringify({ turnBudgetMs, ...plan });
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, fixture, argument], { timeout: LIMIT_MS });
  return JSON.parse(stdout) as Outcome[];
}

test(
  "code that takes several turn budgets to load is loaded, and whoever might miss the worker is told",
  OPTIONS,
  async () => {
    // Longer than elsewhere: linking in one piece takes a good part of 100 ms here.
    const budgetMs = 4 * TURN_BUDGET_MS;
    const outcomes = await load({ importBudgetMs: ENOUGH_MS, files: [files.esm, files.cjs] }, budgetMs);
    expect(outcomes.map(({ ended, reason }) => ({ ended, reason }))).toEqual([
      { ended: "60", reason: undefined },
      { ended: "0", reason: undefined },
    ]);
  },
);

test("modules that each compute for less than a turn budget may take many of them together", OPTIONS, async () => {
  const work = "const endMs = performance.now() + 60; while (performance.now() < endMs);";
  const modules = Array.from({ length: 12 }, (_, at) => dataModule(`${work} // ${at}`));
  const graph = dataModule(modules.map((module) => `import ${JSON.stringify(module)};`).join("\n"));
  const [outcome] = await load({ importBudgetMs: ENOUGH_MS, files: [graph] });
  expect([outcome?.ended, outcome?.reason]).toEqual(["0", undefined]);
  expect(outcome?.waitedMs).toBeGreaterThan(600);
  expect(outcome?.told).toBeGreaterThan(0);
});

test("a module that spins at its top level is ended, by name, within a few turn budgets", OPTIONS, async () => {
  const { spinning, nested, late, cjsSpinning } = files;
  const outcomes = await load({ importBudgetMs: ENOUGH_MS, files: [spinning, nested, late, cjsSpinning] });
  expect(outcomes.map(({ reason }) => reason)).toEqual(Array.from({ length: 4 }, () => "turn budget"));
  for (const [at, file] of ["spins/top.js", "spins/top-of-another.js", undefined, "cjs/top.js"].entries()) {
    if (file !== undefined)
      expect(outcomes[at]?.ended).toMatch(new RegExp(`at the top level of .*${file}, which did not come to its end$`));
    expect(outcomes[at]?.told).toBeLessThan(4);
  }
});

test("loading has a budget of its own, and the error says what to do", OPTIONS, async () => {
  const [outcome] = await load({ importBudgetMs: TURN_BUDGET_MS, files: [files.cjs] });
  expect(outcome).toMatchObject({ reason: "import budget" });
  expect(outcome?.ended).toMatch(
    /\(import budget\), loading code: import what is big at the top .* or raise MESH_IMPORT_BUDGET_MS$/,
  );
});
