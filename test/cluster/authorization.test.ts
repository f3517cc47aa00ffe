// Two real nodes with an application that judges its clients: what it says arrives where the session is, and whom it refuses leaves nothing.

import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { connectNats } from "#mesh";
import { record } from "#proto";
import { startMesh, type TestMesh } from "./mesh-up.ts";
import { workerPids } from "./test-mesh.ts";

const ANSWER_MS = 5_000;
/** The chance that none of so many names is on one of two nodes is one in a thousand. */
const NAMES = Array.from({ length: 10 }, (_, at) => `d${at}`);
const ADA = { "x-user": "ada", "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https" };

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await startMesh({
    app: "test/cluster/door-app.ts",
    nodes: 2,
    workers: 1,
    env: { MESH_TRUSTED_PROXIES: "127.0.0.1" },
  });
});
afterAll(() => mesh.stop());

async function countOf(kind: string): Promise<number> {
  const link = await connectNats(mesh.nats, { name: "a test" });
  try {
    const counted = record(await link.request(`mesh.${mesh.name}.registry.count`, { kind }, ANSWER_MS), "count");
    return Number(counted["count"] ?? counted["total"]);
  } finally {
    await link.close();
  }
}

test.each(["desk", "thread"])("claims, address and https reach sessions of kind %s on either node", async (kind) => {
  const gateway = mesh.nodes[0]!.gateway;
  const nodes = new Set<unknown>();
  for (const name of NAMES) {
    const response = await fetch(`${gateway}/sessions/${kind}/${name}/x`, { headers: ADA });
    const { node, ...rest } = (await response.json()) as Record<string, unknown>;
    nodes.add(node);
    expect(rest).toEqual({ pathname: `/sessions/${kind}/${name}/x`, protocol: "https:", ip: "192.0.2.1", user: "ada" });
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/parties/${kind}/${name}`, ["v1", "v2"], {
      headers: ADA,
    });
    expect(String((await once(socket, "message"))[0])).toBe("ada 192.0.2.1 v2");
    socket.send("and now?");
    expect(String((await once(socket, "message"))[0])).toBe("ada");
    socket.terminate();
  }
  expect(nodes.size).toBe(2);
});

test("who is refused leaves no session, by whatever path they come", async () => {
  const { gateway } = mesh.nodes[0]!;
  const before = await countOf("desk");
  expect(before).toBeGreaterThan(0);
  for (const path of ["/sessions/desk/nobody", "/parties/desk/nobody", "/sessions/desk/%6Eobody"]) {
    expect((await fetch(gateway + path)).status).toBe(401);
  }
  expect((await fetch(`${gateway}/sessions/desk/%73ecret`, { headers: ADA })).status).toBe(401);
  expect((await fetch(`${gateway}/sessions/desk`, { method: "POST" })).status).toBe(401);
  expect(await countOf("desk")).toBe(before);
});

test("a stray error of a hook ends no worker", async () => {
  const { id, gateway } = mesh.nodes[0]!;
  const pids = await workerPids(mesh, id);
  for (const why of ["throw", "reject"]) {
    expect((await fetch(`${gateway}/sessions/desk/d0?stray=${why}`, { headers: ADA })).status).toBe(200);
  }
  expect((await fetch(`${gateway}/sessions/desk/d0`, { headers: ADA })).status).toBe(200);
  expect(await workerPids(mesh, id)).toEqual(pids);
  expect(mesh.output).toContain("a stray error of a hook");
  expect(mesh.output).toContain("a stray rejection of a hook");
});
