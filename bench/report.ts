// The rows as tables for a person.

import { meets, type LoadRow, type MemoryRow, type Row } from "./row.ts";

export function report(rows: readonly Row[]): string {
  const loads = rows.filter((row) => row.type === "load");
  const memories = rows.filter((row) => row.type === "memory");
  const starved = loads.some(({ control, mesh }) => Math.min(control.coreShare, mesh.coreShare) < BUSY_SHARE);
  return [
    ...(loads.length === 0 ? [] : [aligned([LOAD_TITLES, ...loads.map(loadCells)])]),
    ...(memories.length === 0 ? [] : [aligned([MEMORY_TITLES, ...memories.map(memoryCells)])]),
    ...(starved ? [STARVED] : []),
  ].join("\n\n");
}

/** Less than this of a core, and the servers were not what limited the rate. */
const BUSY_SHARE = 0.85;
const STARVED = "* the servers did not get a whole core, or were not given enough to do: compare by CPU, not by rate";

const SIDE_TITLES = ["p50 ms", "p99 ms", "CPU us"];
const LOAD_TITLES = ["", "control/s", ...SIDE_TITLES, "mesh/s", ...SIDE_TITLES, "ratio", "by CPU", "target", ""];
const MEMORY_TITLES = ["bytes each", "count", "control", "mesh", "ratio", "target", ""];

function loadCells(row: LoadRow): string[] {
  const sides = [row.control, row.mesh].flatMap((side) => [
    `${Math.round(side.perSecond).toLocaleString("en")}${side.coreShare < BUSY_SHARE ? "*" : " "}`,
    side.p50Ms.toFixed(1),
    side.p99Ms.toFixed(1),
    numberText(side.cpuUsEach, 1),
  ]);
  const target = `>= ${row.target.toFixed(2)}`;
  return [row.what, ...sides, row.rateRatio.toFixed(2), numberText(row.cpuRatio, 2), target, mark(row)];
}

function memoryCells(row: MemoryRow): string[] {
  return [
    row.what,
    row.count.toLocaleString("en"),
    Math.round(row.controlBytes).toLocaleString("en"),
    Math.round(row.meshBytes).toLocaleString("en"),
    (row.meshBytes / row.controlBytes).toFixed(2),
    targetText(row.target),
    mark(row),
  ];
}

function targetText(target: MemoryRow["target"]): string {
  if (target === undefined) return "";
  return "bytes" in target ? `<= ${target.bytes} bytes` : `<= ${target.ratio.toFixed(1)}x`;
}

function mark(row: Row): string {
  const met = meets(row);
  if (met === undefined) return "";
  return met ? "ok" : row.type === "load" ? "below" : "above";
}

function numberText(value: number, digits: number): string {
  return Number.isNaN(value) ? "-" : value.toFixed(digits);
}

/** First and last column to the left, figures to the right. */
export function aligned(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, at) => {
          const width = widths[at] ?? 0;
          return at === 0 || at === line.length - 1 ? cell.padEnd(width) : cell.padStart(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
