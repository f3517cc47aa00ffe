// `npm run bench:faults`: one session of a thousand goes wrong, in each way that there is. What do the others lose, beside the same in a plain
// server? bench/README.md explains the columns.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { catalogue } from "../examples/faults/catalogue.ts";
import { startControl } from "./faults/control.ts";
import type { Row } from "./faults/measure.ts";
import { OTHERS } from "./faults/others.ts";
import { Side } from "./faults/side.ts";
import { HEAP_MB } from "./faults/subject.ts";
import { aligned } from "./report.ts";
import { startMesh } from "./servers.ts";

const CLASSES = { shared: "fault", thread: "fault-thread", process: "fault-process" } as const;
/** What users get who set nothing. */
const BUDGET_MS = 1_000;
/** One of each sort; --only takes any of the catalogue, --all takes all. */
const FAULTS: readonly string[] = [
  ...["throw", "reject", "throw-null", "throw-frozen", "stack", "stray-rejection", "timer-throw", "emitter-error"],
  ...["spin", "timer-spin", "microtasks", "nexttick", "regex", "sort", "json", "body-spin"],
  ...["alloc", "alloc-strings", "alloc-buffers", "alloc-maps", "leak", "leak-buffers"],
  ...["never-settles", "body-never-ends", "stream-throw"],
  ...["exit", "reallyexit", "abort", "kill", "kill-primary", "disconnect", "remove-all", "stdout", "chdir", "umask"],
  ...["globals", "prototype", "extend-object", "edit-json", "uncaught-listener", "assign-write"],
  ...["wasm-spin", "atomics-wait", "open-files", "native-block", "native-crash"],
];
/** Would hit whoever started it, the benchmark included. */
const NOT_FOR_CONTROL: ReadonlySet<string> = new Set([
  "kill-primary",
  "kill-primary-group",
  "hidden-kill",
  "kill-zero",
  "kill-group",
  "kill-all",
]);
interface Comparison {
  readonly fault: string;
  /** Undefined: was not tried, or the measurement failed. */
  readonly mesh: Row | undefined;
  readonly control: Row | undefined;
}

const USAGE =
  "node bench/faults.ts [--only <fault>]... [--all] [--class shared|thread|process] [--alone] [--json <file>]";

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (options === undefined) return 2;
  await using mesh = new Side(BUDGET_MS, (port) =>
    startMesh({
      nodes: 1,
      app: fileURLToPath(new URL("../examples/faults/app.ts", import.meta.url)),
      port,
      env: { NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}` },
      quiet: true,
    }),
  );
  await using control = new Side(BUDGET_MS, startControl);
  const comparisons: Comparison[] = [];
  let failures = 0;
  const failed = (error: unknown): undefined => {
    failures++;
    console.error(`\n  ${error instanceof Error ? error.message : String(error)}`);
  };
  for (const fault of options.faults) {
    process.stderr.write(`${fault} `);
    comparisons.push({
      fault,
      mesh: await mesh.row(options.kind, fault).catch(failed),
      control:
        options.alone || NOT_FOR_CONTROL.has(fault) ? undefined : await control.row("fault", fault).catch(failed),
    });
  }
  process.stderr.write("\n");
  console.log(table(comparisons));
  if (options.json !== undefined) {
    const figures = { others: OTHERS, budgetMs: BUDGET_MS, class: options.kind, rows: comparisons };
    writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`);
  }
  return failures === 0 ? 0 : 1;
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string", multiple: true, default: [] },
        all: { type: "boolean", default: false },
        class: { type: "string", default: "shared" },
        alone: { type: "boolean", default: false },
        json: { type: "string" },
      },
    });
    const unknown = values.only.find((name) => !(name in catalogue));
    const [, kind] = Object.entries(CLASSES).find(([name]) => name === values.class) ?? [];
    if (unknown === undefined && kind !== undefined) {
      const faults = values.all ? Object.keys(catalogue) : values.only.length > 0 ? values.only : FAULTS;
      return { faults, kind, alone: values.alone, json: values.json };
    }
    const wrong = unknown === undefined ? `there is no class "${values.class}"` : `there is no fault "${unknown}"`;
    console.error(`${wrong}\n${USAGE}\n  faults: ${Object.keys(catalogue).join(" ")}`);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
  return undefined;
}

function table(comparisons: readonly Comparison[]): string {
  const titles = ["answer", "state", "req/ws/timers", "stalled", "longest", "again"];
  const lines = comparisons.map(({ fault, mesh, control }) => [
    fault,
    ...cells(mesh),
    "|",
    ...cells(control),
    [...(control?.changed ?? []), ...(mesh?.changed ?? []).map((name) => `mesh: ${name}`)].join(" "),
  ]);
  return aligned([
    ["", ...titles.map((_, at) => (at === 0 ? "MESH" : "")), "|", "CONTROL", ...titles.slice(1).map(() => ""), ""],
    ["fault", ...titles, "|", ...titles, "changed for others"],
    ...lines,
  ]);
}

function cells(row: Row | undefined): string[] {
  if (row === undefined) return ["-", "-", "-", "-", "-", "-"];
  const { answer, state, requests, sockets, timers, stalled, longestMs, againMs } = row;
  const whole = (ms: number): string => Math.round(ms).toLocaleString("en");
  return [
    answer.replace("session_", ""),
    whole(state),
    `${requests}/${sockets}/${timers}`,
    whole(stalled),
    whole(longestMs),
    whole(againMs),
  ];
}
