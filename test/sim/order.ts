// What run.ts and a searching thread tell each other.

import { Worker } from "node:worker_threads";
import type { Violation } from "./checker.ts";
import type { Schedule, Theme } from "./schedule.ts";
import type { Shrunk } from "./shrink.ts";
import { merge, noTotals, type Totals } from "./totals.ts";

export interface SearchOrder {
  readonly from: number;
  readonly count: number;
  /** Every so many seeds: the threads share them. */
  readonly step: number;
  /** The deliberate break to make. */
  readonly mutation?: string | undefined;
  /** Of all runs, instead of one that each seed draws. */
  readonly theme?: Theme | undefined;
  /** Instead of the seeds' own. */
  readonly schedule?: Schedule | undefined;
  readonly shrinks: boolean;
  readonly trace: boolean;
  /** Stop after so many. */
  readonly findingsMax: number;
  /** Begin no run after so much real time. Default: none. */
  readonly limitMs?: number | undefined;
}

export type Finding =
  | { readonly seed: number; readonly theme: Theme; readonly violation: Violation; readonly shrunk?: Shrunk }
  /** The code under test threw where nobody caught it. */
  | { readonly seed: number; readonly error: string };

export interface Report {
  readonly totals: Totals;
  readonly findings: readonly Finding[];
}

export function search(order: SearchOrder): Promise<Report> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL("./search.ts", import.meta.url), { workerData: order });
    thread.once("message", (report: Report) => resolve(report));
    thread.once("error", reject);
    thread.once("exit", (code) => reject(new Error(`a searching thread ended with ${code}`)));
  });
}

/** The same seeds on several threads. */
export async function searchAll(order: Omit<SearchOrder, "step">, threads: number): Promise<Report> {
  const reports = await Promise.all(
    Array.from({ length: threads }, (_, at) =>
      search({ ...order, from: order.from + at, count: order.count - at, step: threads }),
    ),
  );
  const totals = noTotals();
  for (const report of reports) merge(totals, report.totals);
  return { totals, findings: reports.flatMap((report) => report.findings).sort((a, b) => a.seed - b.seed) };
}
