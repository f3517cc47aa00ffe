// Meshes for vitest: one for all tests of a file, or one for a single test. Both show what the nodes printed when a test fails, and
// fail when a process is left behind.

import { afterAll, afterEach, beforeAll, onTestFailed, onTestFinished } from "vitest";
import { connectNats } from "#mesh";
import { integer, list, parseJson, record, text } from "#proto";
import { CounterClient, whereIs, type Where } from "./counter-client.ts";
import { startMesh, type MeshWish, type TestMesh } from "./mesh-up.ts";

const APP = "test/cluster/app.ts";

/** Names that are tried for a session on a certain worker; with 12 workers a run of 200 misses is one in 10^7. */
const TRIES_MAX = 200;
const ANSWER_MS = 5_000;

/** For a whole file. The getter works inside tests. */
export function sharedMesh(wish: Omit<MeshWish, "app">): () => TestMesh {
  let mesh: TestMesh | undefined;
  beforeAll(async () => {
    mesh = await startMesh({ app: APP, ...wish });
  });
  afterEach((context) => {
    if (context.task.result?.state === "fail") console.error(mesh?.output);
  });
  afterAll(async () => {
    await mesh?.stop();
  });
  return () => {
    if (mesh === undefined) throw new Error("the mesh did not start");
    return mesh;
  };
}

/** For the running test. */
export async function ownMesh(wish: Omit<MeshWish, "app">): Promise<TestMesh> {
  const mesh = await startMesh({ app: APP, ...wish });
  onTestFailed(() => console.error(mesh.output));
  onTestFinished(() => mesh.stop());
  return mesh;
}

/** A client whose connections end with the running test. */
export function ownClient(): CounterClient {
  const client = new CounterClient();
  onTestFinished(() => client.close());
  return client;
}

/** The gateway of a node, or of the first one. */
export function gatewayOf(mesh: TestMesh, node = mesh.nodes[0]?.id): string {
  const found = mesh.nodes.find((one) => one.id === node);
  if (found === undefined) throw new Error(`no node ${node}`);
  return found.gateway;
}

/** The worker processes that a node has now, which replacements have changed since it started. */
export async function workerPids(mesh: TestMesh, node: string): Promise<number[]> {
  const admin = mesh.nodes.find((one) => one.id === node)?.admin;
  const answer = await fetch(`${admin}/_mesh/status`);
  const status = parseJson(new Uint8Array(await answer.arrayBuffer()), "status");
  return list(status["workers"], "workers").map((entry, at) =>
    integer(record(entry, `workers[${at}]`)["pid"], `workers[${at}].pid`),
  );
}

export interface NodeInView {
  readonly state: string;
  readonly gateway: string;
  readonly workers: number;
}

/** What the nodes agree on now, as the registry tells it: by node id. */
export async function viewOf(mesh: TestMesh): Promise<ReadonlyMap<string, NodeInView>> {
  const link = await connectNats(mesh.nats, { name: "a test" });
  try {
    const view = record(await link.request(`mesh.${mesh.name}.registry.view`, {}, ANSWER_MS), "view");
    return new Map(
      list(view["nodes"], "nodes").map((entry) => {
        const node = record(entry, "node");
        const workers = list(node["workers"], "workers").length;
        return [
          text(node["id"], "id"),
          { state: text(node["state"], "state"), gateway: text(node["gateway"], "gateway"), workers },
        ];
      }),
    );
  } finally {
    await link.close();
  }
}

/** A live session of the kind whose server is where `wanted` says. Names are `<stem>0`, `<stem>1`... */
export async function sessionWhere(
  gateway: string,
  kind: string,
  stem: string,
  wanted: (where: Where) => boolean,
): Promise<{ readonly session: string; readonly where: Where }> {
  for (let at = 0; at < TRIES_MAX; at++) {
    const session = `${kind}/${stem}${at}`;
    const where = await whereIs(gateway, session);
    if (wanted(where)) return { session, where };
  }
  throw new Error(`none of ${TRIES_MAX} sessions of ${kind} came to where it was wanted`);
}
