// The costs of faults as a table for people, with what they should have been.

import { cpus, totalmem, release } from "node:os";
import { renderTable } from "../../cli/table.ts";
import type { Arena } from "./arena.ts";
import type { Target } from "./faults.ts";
import type { Cost } from "./trial.ts";

const NUMBERS = [
  "SESSIONS",
  "LOST",
  "ELSEWHERE",
  "DETECTED ms",
  "BACK p50",
  "p99",
  "MAX ms",
  "FAILED THERE",
  "ELSEWHERE",
  "LATENCY ELSEWHERE p99",
  "MAX ms",
  "EPOCHS",
];

export function costTable(costs: readonly Cost[]): string {
  const columns = [
    { title: "FAULT" },
    ...NUMBERS.map((title) => ({ title, align: "right" as const })),
    { title: "TARGET" },
  ];
  const rows = costs.map((cost) => [
    cost.what,
    cost.there,
    cost.lost,
    cost.lostElsewhere,
    whole(cost.detectMs),
    whole(quantile(cost.backMs, 0.5)),
    whole(quantile(cost.backMs, 0.99)),
    whole(quantile(cost.backMs, 1)),
    cost.failedThere,
    cost.failedElsewhere,
    whole(quantile(cost.elsewhereMs, 0.99)),
    whole(quantile(cost.elsewhereMs, 1)),
    cost.epochs,
    cost.target === undefined ? "-" : `${textOf(cost.target)}: ${meets(cost, cost.target) ? "ok" : "MISSED"}`,
  ]);
  return renderTable(columns, rows);
}

/** What was measured where. */
export function machineOf({ network, nats }: Arena): string {
  const [cpu] = cpus();
  return [
    `${cpus().length} cores (${cpu?.model ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
      `${process.platform} ${release()}, node ${process.versions.node}, ${nats.places.length} x nats-server ${nats.version}`,
    `network: ${network.kind}`,
    ...network.remarks,
  ].join("\n");
}

export function meets(cost: Cost, target: Target): boolean {
  switch (target.kind) {
    case "back":
      return cost.lostElsewhere === 0 && (quantile(cost.backMs, 0.99) ?? Infinity) <= target.ms;
    case "nothing ends":
      return cost.lost + cost.lostElsewhere + cost.failedThere + cost.failedElsewhere === 0;
    case "nothing fails":
      return cost.lostElsewhere + cost.failedThere + cost.failedElsewhere === 0;
    case "no pause":
      return cost.failedElsewhere === 0 && (quantile(cost.elsewhereMs, 1) ?? 0) <= target.ms;
  }
}

function textOf(target: Target): string {
  switch (target.kind) {
    case "back":
      return `p99 <= ${target.ms} ms`;
    case "nothing ends":
      return "nothing ends or fails";
    case "nothing fails":
      return "nothing fails, nothing ends elsewhere";
    case "no pause":
      return `no pause elsewhere > ${target.ms} ms`;
  }
}

function whole(ms: number | undefined): string {
  return ms === undefined ? "-" : ms.toFixed(0);
}

function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}
