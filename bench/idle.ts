// `node bench/idle.ts [--nodes 3] [--workers 2] [--seconds 20] [--built] [--json FILE]`: what an idle mesh holds and does: the memory of its processes, each page
// shared by n of them counted as a nth (PSS), and the processor time of all of them, beside a plain node:http server. Linux only: it reads /proc.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as passed } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { NodeInfo } from "#node";
import { cpuUs, end, firstLine, startPinned } from "./process.ts";
import { aligned } from "./report.ts";

/** After the start, until collected garbage has gone back to the system. */
const SETTLE_MS = 10_000;

const CONTROL = fileURLToPath(new URL("./controls/http.ts", import.meta.url));
const APP = fileURLToPath(new URL("../examples/hello/app.ts", import.meta.url));

interface Held {
  readonly processes: number;
  /** MB a process, on average. */
  readonly rssMb: number;
  readonly pssMb: number;
  readonly privateMb: number;
  /** Of one core, all processes together. */
  readonly corePercent: number;
}

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "3" },
    workers: { type: "string", default: "2" },
    seconds: { type: "string", default: "20" },
    /** As users run it, after `npm run build`: JavaScript, which Node need not strip of types. */
    built: { type: "boolean", default: false },
    json: { type: "string" },
  },
});

const cli = fileURLToPath(new URL(values.built ? "../dist/cli/mesh.js" : "../cli/mesh.ts", import.meta.url));
const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-bench-"));
const control = startPinned({ core: "any", command: process.execPath, args: [CONTROL] });
const sizes = ["--nodes", values.nodes, "--workers", values.workers, "--port", "0", "--admin-port", "0"];
const up = startPinned({
  core: "any",
  command: process.execPath,
  args: [cli, "up", APP, "--json", "--quiet", ...sizes],
  env: { NATS_URL: undefined, REDIS_URL: undefined },
  cwd: folder,
});
try {
  await firstLine(control, "the control");
  // Written by the command of the same tree.
  const { nodes } = (await firstLine(up, "mesh up", { quiet: true })) as { readonly nodes: readonly NodeInfo[] };
  const groups = {
    "plain node:http": [control.pid ?? 0],
    workers: nodes.flatMap((node) => node.workers.map(({ pid }) => pid)),
    primaries: nodes.map(({ pid }) => pid),
    launcher: [up.pid ?? 0],
  };
  await passed(SETTLE_MS);
  const before = Object.values(groups).map(cpuUs);
  const startedAt = performance.now();
  await passed(Number(values.seconds) * 1_000);
  const wallUs = (performance.now() - startedAt) * 1_000;
  const rows = Object.entries(groups).map(([what, pids], at): [string, Held] => [
    what,
    { ...held(pids), corePercent: (100 * (cpuUs(pids) - (before[at] ?? NaN))) / wallUs },
  ]);
  const figure = (value: number): string => value.toFixed(1);
  console.log(
    aligned([
      ["", "processes", "RSS MB", "PSS MB", "private MB", "% of a core, all"],
      ...rows.map(([what, row]) => [
        what,
        String(row.processes),
        ...[row.rssMb, row.pssMb, row.privateMb, row.corePercent].map(figure),
      ]),
    ]),
  );
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(Object.fromEntries(rows), undefined, 2));
} finally {
  await Promise.all([end(up, "SIGINT"), end(control, "SIGTERM")]);
  rmSync(folder, { recursive: true, force: true });
}

function held(pids: readonly number[]): Omit<Held, "corePercent"> {
  const rollups = pids.map((pid) => readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  const mean = (...names: readonly string[]): number => {
    const kb = rollups.flatMap((rollup) =>
      names.map((name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(rollup)?.[1])),
    );
    return kb.reduce((sum, one) => sum + one, 0) / 1_024 / pids.length;
  };
  return {
    processes: pids.length,
    rssMb: mean("Rss"),
    pssMb: mean("Pss"),
    privateMb: mean("Private_Clean", "Private_Dirty"),
  };
}
