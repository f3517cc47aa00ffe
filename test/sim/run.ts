// The simulation as a program: `node test/sim/run.ts --seeds 10000`. Prints what happened over all runs, and for each run that broke an
// invariant what it broke, the command that runs it again, and the smallest schedule that still does. Ends with 1 then.

import { parseArgs } from "node:util";
import { readSchedule } from "./kept.ts";
import { searchAll, type Finding } from "./order.ts";
import { allThemes, type Theme } from "./schedule.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    /** As many of the seeds as it takes. */
    minutes: { type: "string" },
    /** One run, line by line. */
    seed: { type: "string" },
    /** A schedule in a file. */
    schedule: { type: "string" },
    mutation: { type: "string" },
    /** One theme for all seeds: `rewinds`, `revivals` and `containers` are seen by this alone. */
    theme: { type: "string" },
    trace: { type: "boolean", default: false },
  },
});

const one = values.seed !== undefined || values.schedule !== undefined;
const began = performance.now();
const { totals, findings } = await searchAll(
  {
    from: Number(values.seed ?? values.from),
    count: one ? 1 : Number(values.seeds),
    schedule: values.schedule === undefined ? undefined : readSchedule(values.schedule),
    mutation: values.mutation,
    theme: themeOf(values.theme),
    trace: values.trace,
    shrinks: !values.trace,
    findingsMax: 5,
    limitMs: values.minutes === undefined ? undefined : Number(values.minutes) * 60_000,
  },
  one ? 1 : Number(values.threads),
);
const seconds = (performance.now() - began) / 1000;

console.log(
  `${totals.runs} runs, ${totals.steps} steps (${Math.round(totals.steps / totals.runs)} in each, ${totals.stepsLeast} in the shortest), ` +
    `${seconds.toFixed(1)} s, ${((seconds * 1e6) / totals.steps).toFixed(1)} us a step`,
);
if (!one && totals.runs < Number(values.seeds) && findings.length === 0)
  console.log(`the time was over before all ${values.seeds} seeds had run`);
if (totals.cutShort > 0)
  console.log(`${totals.cutShort} runs met a known limit of a registry that forgets, and ended there`);
console.log(
  Object.entries(totals.counts)
    .map(([name, times]) => `${name} ${times}`)
    .join(", "),
);
for (const finding of findings) describe(finding);
process.exitCode = findings.length > 0 ? 1 : 0;

function themeOf(name: string | undefined): Theme | undefined {
  const theme = allThemes.find((one) => one === name);
  if (name !== undefined && theme === undefined) throw new Error(`--theme is one of ${allThemes.join(", ")}`);
  return theme;
}

function describe(finding: Finding): void {
  if ("error" in finding) {
    console.log(`\nthe code threw: ${finding.error}`);
    return;
  }
  const { seed, theme, violation, shrunk } = finding;
  console.log(`\nseed ${seed} (${theme}): invariant ${violation.invariant} at ${violation.atMs} ms: ${violation.what}`);
  console.log(`  run it again: ${again(seed)} --trace`);
  if (shrunk !== undefined) {
    console.log(`  shrunk to ${shrunk.schedule.faults.length} faults, ${shrunk.violation.what}:`);
    console.log(`  ${JSON.stringify(shrunk.schedule)}`);
  }
}

function again(seed: number): string {
  const broken = values.mutation === undefined ? "" : ` --mutation "${values.mutation}"`;
  const theme = values.theme === undefined ? "" : ` --theme ${values.theme}`;
  return `node test/sim/run.ts ${values.schedule === undefined ? `--seed ${seed}` : `--schedule ${values.schedule}`}${theme}${broken}`;
}
