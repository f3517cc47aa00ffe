// Which nodes `mesh up` starts and at which ports. Pure, but for the look whether the ports are free.

import { MeshError } from "#proto";
import { isPortFree } from "../infra/port.ts";

export interface NodePlan {
  readonly id: string;
  /** 0: the node picks a free one. */
  readonly port: number;
  readonly adminPort: number;
}

const PORT_MAX = 65_535;

/** Node k of `count`, from 0, has `port + k` and `adminPort + k`. Throws `bad_config` when the ranges do not fit. */
export function planNodes(count: number, port: number, adminPort: number): NodePlan[] {
  for (const [option, first] of [
    ["--port", port],
    ["--admin-port", adminPort],
  ] as const) {
    if (first !== 0 && first + count - 1 > PORT_MAX) {
      throw new MeshError(
        "bad_config",
        `${option} ${first} leaves no room for ${count} nodes below port ${PORT_MAX + 1}`,
      );
    }
  }
  if (port !== 0 && adminPort !== 0 && Math.abs(port - adminPort) < count) {
    throw new MeshError(
      "bad_config",
      `the ports ${rangeText(port, count)} (--port) and ${rangeText(adminPort, count)} (--admin-port) overlap: move one of them`,
    );
  }
  return Array.from({ length: count }, (_, at) => ({
    id: `n${at + 1}`,
    port: port === 0 ? 0 : port + at,
    adminPort: adminPort === 0 ? 0 : adminPort + at,
  }));
}

/** Throws `bad_config` naming the first port that is taken and the option that moves it. */
export async function checkPortsFree(plans: readonly NodePlan[]): Promise<void> {
  for (const plan of plans) {
    for (const [port, what, option] of [
      [plan.port, "gateway", "--port"],
      [plan.adminPort, "admin port", "--admin-port"],
    ] as const) {
      if (port !== 0 && !(await isPortFree(port))) {
        throw new MeshError(
          "bad_config",
          `port ${port} is taken (it is for the ${what} of ${plan.id}): start elsewhere with ${option}, or ${option} 0 for free ones`,
        );
      }
    }
  }
}

function rangeText(first: number, count: number): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`;
}
