// Judges a history of requests against the promises of the mesh: one server a name, nothing lost but what a fault killed, no failure
// without a fault. Pure; relies only on what clients saw and what the test did. Works on the sorted history in one pass per name.

import { compareFences, type Fence } from "#proto";
import type { Count, Outcome } from "./counter-client.ts";
import type { Asked } from "./traffic.ts";

/** What a test did to the mesh. */
export interface Fault {
  readonly what: string;
  readonly atMs: number;
  /** When every name that had lived there counted again; failures after it are not the fault's. */
  readonly overMs: number;
  /** Worker processes that were killed. */
  readonly pids: readonly number[];
  /** The node whose gateway lost connections. */
  readonly node: string;
  /** Its processes fell silent and nothing told of it: requests fail until others have noticed. */
  readonly silent?: true;
  /** No node may act until it is over: requests wait through every gateway. */
  readonly everywhere?: true;
}

/** A failure is noticed a little after its cause: answers pass through two event loops and a socket. */
const NOTICE_MS = 1_000;

type Counted = Asked & { readonly outcome: Extract<Outcome, { status: "counted" }> };

/** One sentence for each broken promise; empty when all were kept. */
export function violations(history: readonly Asked[], faults: readonly Fault[]): string[] {
  const bySession = Map.groupBy(history, (asked) => asked.session);
  return [...bySession].flatMap(([session, asked]) => {
    const counted = asked.filter(isCounted);
    const failed = asked.filter((one) => one.outcome.status !== "counted");
    return [
      ...staleServers(counted),
      ...wrongFences(counted),
      ...wrongCounts(counted, failed),
      ...unexplainedEnds(counted, faults),
      ...failed.filter((one) => !isExcused(one, faults)).map((one) => `failed without a fault: ${show(one)}`),
    ].map((sentence) => `${session}: ${sentence}`);
  });
}

/** Once a newer server has answered, no request that starts after that may be answered by an older one. */
function staleServers(counted: readonly Counted[]): string[] {
  return disorders(counted, (earlier, later) => compareFences(answerOf(earlier).fence, answerOf(later).fence) > 0).map(
    ([earlier, later]) => `an older server answered after a newer one: ${show(earlier)} then ${show(later)}`,
  );
}

/** One fence is one server, and one server has one fence. */
function wrongFences(counted: readonly Counted[]): string[] {
  const instances = new Map<string, string>();
  const fences = new Map<string, string>();
  return counted.flatMap(({ outcome: { answer } }) => {
    const fence = fenceText(answer.fence);
    const twin = instances.get(fence) ?? answer.instance;
    const other = fences.get(answer.instance) ?? fence;
    instances.set(fence, twin);
    fences.set(answer.instance, other);
    if (twin !== answer.instance) return [`two servers have fence ${fence}: ${twin} and ${answer.instance}`];
    return other === fence ? [] : [`server ${answer.instance} has two fences: ${other} and ${fence}`];
  });
}

/** A server counts 1, 2, 3...: none twice, none missing but those whose answer was lost, and never backwards in time. */
function wrongCounts(counted: readonly Counted[], failed: readonly Asked[]): string[] {
  const unknown = failed.filter((one) => mayHaveRun(one.outcome)).length;
  return [...Map.groupBy(counted, (one) => answerOf(one).instance)].flatMap(([instance, answers]) => {
    const counts = answers.map((one) => answerOf(one).count);
    const seen = new Set(counts);
    const missing = Math.max(...counts) - seen.size;
    return [
      ...(seen.size < counts.length ? [`server ${instance} gave a count twice`] : []),
      ...(missing > unknown
        ? [`server ${instance} counted ${missing} more than was asked of it (${unknown} unknown)`]
        : []),
      ...disorders(answers, (earlier, later) => answerOf(earlier).count > answerOf(later).count).map(
        ([earlier, later]) => `server ${instance} counted backwards: ${show(earlier)} then ${show(later)}`,
      ),
    ];
  });
}

/** A server gives way to another only when its process was killed. */
function unexplainedEnds(counted: readonly Counted[], faults: readonly Fault[]): string[] {
  const firsts = new Map<string, Counted>();
  for (const one of counted) {
    const first = firsts.get(answerOf(one).instance);
    if (first === undefined || one.endedMs < first.endedMs) firsts.set(answerOf(one).instance, one);
  }
  const servers = [...firsts.values()].sort((a, b) => compareFences(answerOf(a).fence, answerOf(b).fence));
  return servers.slice(1).flatMap((next, at) => {
    const before = servers[at];
    if (before === undefined) return [];
    const { pid } = answerOf(before);
    const killed = faults.some((fault) => fault.pids.includes(pid) && fault.atMs <= next.endedMs);
    return killed ? [] : [`its server ${show(before)} ended although its process lived; next ${show(next)}`];
  });
}

/** Pairs of requests, the first ended before the second started, for which `wrong` holds: the worst earlier one for each later one. */
function disorders(
  counted: readonly Counted[],
  wrong: (earlier: Counted, later: Counted) => boolean,
): [Counted, Counted][] {
  const byEnd = [...counted].sort((a, b) => a.endedMs - b.endedMs);
  const byStart = [...counted].sort((a, b) => a.startedMs - b.startedMs);
  const found: [Counted, Counted][] = [];
  let ended = 0;
  let worst: Counted | undefined;
  for (const later of byStart) {
    for (
      let earlier = byEnd[ended];
      earlier !== undefined && earlier.endedMs < later.startedMs;
      earlier = byEnd[++ended]
    ) {
      if (worst === undefined || !wrong(worst, earlier)) worst = earlier;
    }
    if (worst !== undefined && wrong(worst, later)) found.push([worst, later]);
  }
  return found;
}

/** Whether a fault explains the failure of a request. */
function isExcused(asked: Asked, faults: readonly Fault[]): boolean {
  const { outcome } = asked;
  return faults.some((fault) => {
    const during = asked.startedMs <= fault.overMs + NOTICE_MS && asked.endedMs >= fault.atMs;
    const atOnce = asked.startedMs <= fault.atMs + NOTICE_MS && asked.endedMs >= fault.atMs;
    switch (outcome.status) {
      case "counted":
        return true;
      case "hung":
        // Who asked a gateway that fell silent may wait for ever.
        return during && (fault.everywhere === true || (fault.silent === true && asked.through === fault.node));
      case "broken":
        // Of an answer that breaks off, or a connection that is refused, only the killed process can be the cause.
        return asked.through === fault.node && (atOnce || (fault.silent === true && during));
      case "refused":
        // Under way to a process that died, or waiting in vain for its successor.
        if (outcome.code === "session_lost") return fault.silent === true ? during : atOnce;
        if (outcome.code === "timeout") return fault.silent === true && during;
        return outcome.retryable && during;
    }
  });
}

function mayHaveRun(outcome: Outcome): boolean {
  return outcome.status !== "counted" && (outcome.status !== "refused" || !outcome.retryable);
}

function isCounted(asked: Asked): asked is Counted {
  return asked.outcome.status === "counted";
}

function answerOf(asked: Counted): Count {
  return asked.outcome.answer;
}

function fenceText(fence: Fence): string {
  return `${fence.epoch}.${fence.claim}`;
}

function show({ through, startedMs, endedMs, outcome }: Asked): string {
  const when = `${startedMs.toFixed(0)}-${endedMs.toFixed(0)} ms through ${through}`;
  if (outcome.status !== "counted") return `${JSON.stringify(outcome)} ${when}`;
  const { node, worker, pid, fence, count } = outcome.answer;
  return `${node}/${worker} pid ${pid} fence ${fenceText(fence)} count ${count} ${when}`;
}
