// Uses real packages in sessions of a real node: imported at the top of the application, and again first imported inside a handler.
// Run: npm run test:ecosystem [-- --quick] [-- NAME...]. Prints a line for each; ends with 1 when one is not as expected.

import { isDeepStrictEqual, parseArgs } from "node:util";
import { startMesh } from "../cluster/mesh-up.ts";
import { packages, type Ask, type Row } from "./packages.ts";
import { startStandIns, type StandIns } from "./stand-ins.ts";

type When = "top" | "late";
type Entry = readonly [name: string, row: Row];

const { values, positionals } = parseArgs({ options: { quick: { type: "boolean" } }, allowPositionals: true });
const chosen = Object.entries(packages).filter(([name, { quick }]) =>
  positionals.length > 0 ? positionals.includes(name) : values.quick !== true || quick === true,
);
let failed = 0;

async function runAll(): Promise<void> {
  await using standIns = await startStandIns();
  const entries = chosen.filter(([name, { needs }]) => {
    if (needs === undefined || standIns.has.has(needs)) return true;
    say(`skipped  ${name}: this machine has no ${needs}`);
    return false;
  });
  await runIn(
    "top",
    entries.filter(([, { alone }]) => alone !== true),
    standIns,
  );
  for (const entry of entries.filter(([, { alone }]) => alone === true)) await runIn("top", [entry], standIns);
  await runIn("late", entries, standIns);
}

/** In one node with one worker. */
async function runIn(when: When, entries: readonly Entry[], { env }: StandIns): Promise<void> {
  if (entries.length === 0) return;
  await using mesh = await startMesh({
    app: "test/ecosystem/app.ts",
    nodes: 1,
    workers: 1,
    env: { ...env, MESH_ECOSYSTEM: when, MESH_ECOSYSTEM_PACKAGES: entries.map(([name]) => name).join(",") },
  });
  const [node] = mesh.nodes;
  if (node === undefined) throw new Error("no node");
  for (const [name, { asks, lateFails }] of entries) {
    const beganMs = performance.now();
    const wrong: string[] = [];
    for (const ask of asks) {
      const url = `${node.gateway}/sessions/${name}/s${ask.path ?? ""}`;
      const fault = when === "late" && lateFails === true ? await worksLate(url) : await faultOf(url, ask);
      if (fault !== undefined) wrong.push(fault);
    }
    failed += wrong.length;
    const took = `${Math.round(performance.now() - beganMs)} ms`;
    say(
      `${wrong.length === 0 ? "ok      " : "FAILED  "} ${name}, imported ${when}: ${wrong.join("\n         ") || took}`,
    );
    if (wrong.length > 0) say(mesh.output.split("\n").slice(-40).join("\n"));
  }
}

/** What is wrong with the answer; undefined: nothing. */
async function faultOf(url: string, { init, answer, headers = {} }: Ask): Promise<string | undefined> {
  const response = await fetch(url, init ?? {});
  const text = await response.text();
  const got: unknown = typeof answer === "string" ? text : parsed(text);
  if (!isDeepStrictEqual(got, answer)) return `${url} answered ${response.status} ${text.slice(0, 1_000)}`;
  const missing = Object.entries(headers).filter(([name, value]) => {
    const has = response.headers.get(name);
    return has === null || (value !== '"*"' && has !== value);
  });
  return missing.length === 0 ? undefined : `${url} has not the headers ${JSON.stringify(missing)}`;
}

/** That a package works which the docs say does not is a fault of the docs. */
async function worksLate(url: string): Promise<string | undefined> {
  const { status } = await fetch(url);
  return status === 500 ? undefined : `${url} answered ${status}: it can be imported late now, say so in the docs`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await runAll();
process.exitCode = failed === 0 ? 0 : 1;
