// Which nodes `mesh up` starts and at which ports. Pure, but for the looks whether the ports are free and can be shared.

import { MeshError } from "#proto";
import { canSharePorts, freePort, portFault } from "../infra/port.ts";

export interface NodePlan {
  readonly id: string;
  /** 0: the node picks a free one. */
  readonly port: number;
  readonly adminPort: number;
}

const PORT_MAX = 65_535;

/**
 * `port` is that of all nodes together; node k of `count`, from 0, has `port + 1 + k` and `adminPort + k` for itself. Throws `bad_config`
 * when the ranges do not fit.
 */
export function planNodes(count: number, port: number, adminPort: number): NodePlan[] {
  for (const [option, first, ports] of [
    ["--port", port, count + 1],
    ["--admin-port", adminPort, count],
  ] as const) {
    if (first !== 0 && first + ports - 1 > PORT_MAX) {
      throw new MeshError(
        "bad_config",
        `${option} ${first} leaves no room for ${count} nodes below port ${PORT_MAX + 1}`,
      );
    }
  }
  if (port !== 0 && adminPort !== 0 && port - adminPort < count && adminPort - port <= count) {
    throw new MeshError(
      "bad_config",
      `the ports ${rangeText(port, count + 1)} (--port) and ${rangeText(adminPort, count)} (--admin-port) overlap: move one of them`,
    );
  }
  return Array.from({ length: count }, (_, at) => ({
    id: `n${at + 1}`,
    port: port === 0 ? 0 : port + 1 + at,
    adminPort: adminPort === 0 ? 0 : adminPort + at,
  }));
}

/** The port of all nodes together, or 0 where the system cannot share one (macOS and Windows). */
export async function sharedPort(port: number): Promise<number> {
  if (!(await canSharePorts())) return 0;
  return port === 0 ? freePort() : port;
}

/** Throws `bad_config` naming the first port that is taken and the option that moves it. */
export async function checkPortsFree(plans: readonly NodePlan[], shared: number): Promise<void> {
  const fault = shared === 0 ? undefined : await portFault(shared);
  if (fault !== undefined) {
    throw new MeshError(
      "bad_config",
      `port ${shared} ${fault} (it is for all nodes together): start elsewhere with --port, or --port 0 for free ones`,
    );
  }
  for (const plan of plans) {
    for (const [port, what, option] of [
      [plan.port, "gateway", "--port"],
      [plan.adminPort, "admin port", "--admin-port"],
    ] as const) {
      const why = port === 0 ? undefined : await portFault(port);
      if (why !== undefined) {
        throw new MeshError(
          "bad_config",
          `port ${port} ${why} (it is for the ${what} of ${plan.id}): start elsewhere with ${option}, or ${option} 0 for free ones`,
        );
      }
    }
  }
}

function rangeText(first: number, count: number): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`;
}
