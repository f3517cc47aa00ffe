// What a machine may do to a node that runs on it, and must not cost a session: its date jumps, the disk for its log is full.

import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startPlacedNode } from "../chaos/placed-node.ts";
import { violations } from "./history.ts";
import { ownMesh } from "./test-mesh.ts";
import { hostsOf, Traffic } from "./traffic.ts";

const CLOCK = path.join(import.meta.dirname, "..", "chaos", "jumping-clock-fixture.ts");
/** Linux refuses every write to it with ENOSPC. */
const FULL_DISK = "/dev/full";
/** At the pace of the clients more than five seconds, and others evict a node after three. */
const REQUESTS = 800;

test("a node whose date jumps by hours keeps its lease and its sessions", async () => {
  const mesh = await ownMesh({ nodes: 1, workers: 1 });
  const node = await mesh.addNode({ NODE_OPTIONS: `--import=${CLOCK}` });
  const history = await asked([...mesh.nodes]);
  expect(violations(history, [])).toEqual([]);
  expect(answeredBy(history)).toContain(node.workers[0]?.pid);
  expect(mesh.output).not.toMatch(/suspended|evicted|fenced/);
});

test("a node whose log goes to a full disk serves on", async () => {
  const mesh = await ownMesh({ nodes: 1, workers: 1 });
  const node = await startPlacedNode(
    "full",
    { name: "full", address: "127.0.0.1", under: [] },
    {
      mesh: mesh.name,
      natsUrls: mesh.nats,
      natsReplicas: 1,
      workers: 1,
      drainMs: 0,
      socketDir: mesh.launcher.folder,
      extraEnv: { MESH_PORT: "0", MESH_ADMIN_PORT: "0" },
      logFile: FULL_DISK,
    },
  );
  onTestFinished(async () => {
    node.signal("SIGKILL", "group");
    await node.exited;
  });
  const history = await asked([...mesh.nodes, node]);
  expect(violations(history, [])).toEqual([]);
  expect(answeredBy(history)).toContain(node.workers[0]?.pid);
});

async function asked(nodes: readonly { readonly id: string; readonly gateway: string }[]) {
  const sessions = Array.from({ length: 40 }, (_, at) => `counter/${at}`);
  const traffic = new Traffic({ gateways: () => nodes, sessions, clients: 4 });
  try {
    await traffic.more(REQUESTS);
  } finally {
    await traffic.stop();
  }
  return traffic.history;
}

function answeredBy(history: Traffic["history"]): number[] {
  return [...hostsOf(history).keys()];
}
