// Clients ask a real mesh for counters while its processes are killed with SIGKILL and nodes join, as a seed says; then the complete
// history of what they saw is judged. CHAOS_SEED repeats the choices of a run, CHAOS_SECONDS makes it longer.

import { expect, onTestFinished, test } from "vitest";
import { renderTable } from "../../cli/table.ts";
import { startNats } from "../infra/nats-server.ts";
import { violations } from "../cluster/history.ts";
import { seeded } from "../cluster/seeded.ts";
import { ownMesh } from "../cluster/test-mesh.ts";
import { Traffic, type Asked } from "../cluster/traffic.ts";
import { ChaosScript, type Account } from "./script.ts";

const SEED = Number(process.env["CHAOS_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const SECONDS = Number(process.env["CHAOS_SECONDS"] ?? 40);
const NAMES = Array.from({ length: 200 }, (_, at) => `counter/name${at}`);
const CLIENTS = 40;
/** Names asked at once when all are asked. */
const SWEEP_WIDTH = 40;
/** Requests between two faults: enough to see each name a few times where it lives now. */
const CALM_REQUESTS = 400;
/** Besides the run itself: start, the last recovery, the final sweep and the end. */
const MARGIN_MS = 80_000;
const VIOLATIONS_SHOWN = 20;

test(
  "no name ever has two servers, and only what a fault killed is lost",
  { timeout: SECONDS * 1_000 + MARGIN_MS },
  async () => {
    console.log(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}`);
    // `mesh up` ends its NATS with the last node that it started; this mesh goes on with nodes that joined.
    const nats = await startNats();
    onTestFinished(() => nats.remove());
    const mesh = await ownMesh({ nodes: 3, workers: 2, natsUrl: nats.url });
    const script = new ChaosScript(mesh, seeded(SEED));
    const traffic = new Traffic({
      gateways: () => script.alive,
      sessions: NAMES,
      clients: CLIENTS,
      draws: seeded(SEED + 1),
    });
    onTestFinished(async () => void (await traffic.stop()));
    const stuck: unknown[] = [];
    await breakAndSweep(script, traffic).catch((error: unknown) => stuck.push(error));
    const history = await traffic.stop();
    const broken = violations(history, script.accounts);
    console.log(tableOf(script.accounts, history));
    console.log(summaryOf(history));
    expect(broken.slice(0, VIOLATIONS_SHOWN)).toEqual([]);
    // Judged last: what clients saw until then says more than where the script could not go on.
    expect(stuck).toEqual([]);
    expect(script.accounts.filter((account) => account.pids.length > 0).length).toBeGreaterThan(2);
  },
);

async function breakAndSweep(script: ChaosScript, traffic: Traffic): Promise<void> {
  const untilMs = performance.now() + SECONDS * 1_000;
  await sweep(NAMES, (name) => traffic.askUntilCounted(name, MARGIN_MS));
  while (performance.now() < untilMs) {
    await script.step(traffic);
    await traffic.more(CALM_REQUESTS);
  }
  // After the last fault every name is one server, whichever gateway is asked.
  for (const node of script.alive) {
    const servers = await sweep(NAMES, (name) => traffic.ask(name, node));
    expect(servers.filter((one) => one.outcome.status !== "counted")).toEqual([]);
  }
}

async function sweep<T>(names: readonly string[], ask: (name: string) => Promise<T>): Promise<T[]> {
  const left = [...names];
  const answers: T[] = [];
  const work = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) answers.push(await ask(name));
  };
  await Promise.all(Array.from({ length: SWEEP_WIDTH }, work));
  return answers;
}

function tableOf(accounts: readonly Account[], history: readonly Asked[]): string {
  const columns = [
    { title: "FAULT" },
    ...["AT s", "NAMES THERE", "LOST", "LOST ELSEWHERE", "BACK ms HALF", "BACK ms ALL", "FAILED"].map((title) => ({
      title,
      align: "right" as const,
    })),
  ];
  const startMs = history[0]?.startedMs ?? 0;
  const rows = accounts.map(({ what, atMs, overMs, there, backMs, pids }) => {
    const next = accounts.find((account) => account.atMs > atMs);
    const lost = lostBetween(history, atMs, next?.atMs ?? Infinity);
    const sorted = [...backMs].sort((a, b) => a - b);
    const failed = history.filter(
      (one) => one.outcome.status !== "counted" && one.endedMs >= atMs && one.startedMs <= overMs,
    );
    return [
      what,
      ((atMs - startMs) / 1_000).toFixed(1),
      there.length,
      lost.filter((one) => pids.includes(one.pid)).length,
      lost.filter((one) => !pids.includes(one.pid)).length,
      sorted.length === 0 ? "-" : (sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(0),
      sorted.length === 0 ? "-" : (sorted.at(-1) ?? 0).toFixed(0),
      failed.length,
    ];
  });
  return renderTable(columns, rows, (text) => text);
}

/** Names whose server after the fault was another one than before it, with the process of the one before. Until the next fault. */
function lostBetween(history: readonly Asked[], atMs: number, untilMs: number) {
  return [...Map.groupBy(history, (one) => one.session)].flatMap(([session, asked]) => {
    const answers = asked.flatMap((one) =>
      one.outcome.status === "counted" ? [{ ...one, answer: one.outcome.answer }] : [],
    );
    const before = answers.findLast((one) => one.endedMs < atMs);
    const after = answers.findLast((one) => one.startedMs > atMs && one.endedMs < untilMs);
    if (before === undefined || after === undefined || before.answer.instance === after.answer.instance) return [];
    return [{ session, pid: before.answer.pid }];
  });
}

function summaryOf(history: readonly Asked[]): string {
  const failed = history.flatMap(({ outcome }) => (outcome.status === "counted" ? [] : [outcome.code]));
  const codes = [...Map.groupBy(failed, (code) => code)].map(([code, all]) => `${all.length} ${code}`).join(", ");
  const seconds = ((history.at(-1)?.endedMs ?? 0) - (history[0]?.startedMs ?? 0)) / 1_000;
  return `${history.length} requests in ${seconds.toFixed(0)} s, ${failed.length} failed${codes === "" ? "" : ` (${codes})`}`;
}
