// Two sides measured in turn, so that what disturbs the machine disturbs both; medians of the rounds.

import type { LoadResult } from "./load/wrk.ts";
import type { Pace } from "./pace.ts";
import { cpuUs } from "./process.ts";
import type { Profile, Setting } from "./scenario.ts";

export interface Side {
  /** Processes whose CPU the load costs. */
  readonly pids: readonly number[];
  load(seconds: number): Promise<LoadResult>;
}

export interface SideFigures {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of all server processes together; NaN where it cannot be read. */
  readonly cpuUsEach: number;
  /** The share of a core that the servers used: well under 1, and the rate says what else was on the machine, or that the load was too small. */
  readonly coreShare: number;
}

export interface Comparison {
  readonly control: SideFigures;
  readonly mesh: SideFigures;
  /** Rate of the mesh to that of the control: the median of the rounds' own ratios. */
  readonly rateRatio: number;
  /** CPU of the control to that of the mesh for one request: what the rate would be if nothing else used the core. */
  readonly cpuRatio: number;
}

export async function compare(control: Side, mesh: Side, setting: Setting): Promise<Comparison> {
  const { pace, say, profile } = setting;
  const rounds: { readonly control: SideFigures; readonly mesh: SideFigures }[] = [];
  for (let round = 1; round <= pace.rounds; round++) {
    const measured = { control: await measure(control, pace), mesh: await measure(mesh, pace, profile) };
    say(`  round ${round}: control ${whole(measured.control.perSecond)}/s, mesh ${whole(measured.mesh.perSecond)}/s`);
    rounds.push(measured);
  }
  return {
    control: middle(rounds.map((round) => round.control)),
    mesh: middle(rounds.map((round) => round.mesh)),
    rateRatio: median(rounds.map((round) => round.mesh.perSecond / round.control.perSecond)),
    cpuRatio: median(rounds.map((round) => round.control.cpuUsEach / round.mesh.cpuUsEach)),
  };
}

async function measure(side: Side, pace: Pace, profile?: Profile): Promise<SideFigures> {
  await side.load(pace.warmUpSeconds);
  const before = cpuUs(side.pids);
  const fromUs = monotonicUs();
  const { count, perSecond, p50Ms, p99Ms } = await side.load(pace.seconds);
  profile?.windows.push({ fromUs, toUs: monotonicUs() });
  const cpuUsEach = (cpuUs(side.pids) - before) / count;
  return { perSecond, p50Ms, p99Ms, cpuUsEach, coreShare: (cpuUsEach * perSecond) / 1e6 };
}

/** The clock of CPU profiles. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

function middle(figures: readonly SideFigures[]): SideFigures {
  const of = (name: keyof SideFigures): number => median(figures.map((one) => one[name]));
  return {
    perSecond: of("perSecond"),
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    cpuUsEach: of("cpuUsEach"),
    coreShare: of("coreShare"),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}
