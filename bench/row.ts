// What a scenario finds out: one row of the table each.

import type { Comparison } from "./rounds.ts";

export type Row = LoadRow | MemoryRow;

export interface LoadRow extends Comparison {
  readonly type: "load";
  readonly what: string;
  /** The least rate of the mesh on a core of its own, as a share of the control's. */
  readonly target: number;
}

export interface MemoryRow {
  readonly type: "memory";
  readonly what: string;
  /** How many there were. */
  readonly count: number;
  readonly controlBytes: number;
  readonly meshBytes: number;
  /** The most that one may cost. Without it the row is there to be read. */
  readonly target?: { readonly bytes: number } | { readonly ratio: number };
}

export function meets(row: Row): boolean | undefined {
  // What the rates say only on an idle machine, CPU for one request says on a busy one, too.
  if (row.type === "load") return (Number.isNaN(row.cpuRatio) ? row.rateRatio : row.cpuRatio) >= row.target;
  if (row.target === undefined) return undefined;
  if ("bytes" in row.target) return row.meshBytes <= row.target.bytes;
  return row.meshBytes <= row.target.ratio * row.controlBytes;
}
