// Two real nodes: how single sessions end, and that nothing else ends with them.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { count, whereIs } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { openSocket } from "./socket-client.ts";
import { gatewayOf, ownMesh, sessionWhere, sharedMesh } from "./test-mesh.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-journal-"));
const journal = path.join(folder, "journal");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mesh = sharedMesh({ nodes: 2, workers: 2, env: { TEST_JOURNAL: journal } });

/** `idleMs` of the class is 300; the sweep that looks for idle sessions has its own pace. */
const IDLE_MS = 5_000;

test("a session stops after idleMs, is told why, and the next request finds a fresh one", async () => {
  const { session, where } = await sessionWhere(gatewayOf(mesh()), "idle", "rest", () => true);
  await eventually(() => reasonsOf(session).length === 1, IDLE_MS);
  expect(reasonsOf(session)).toEqual(["idle"]);
  for (const node of mesh().nodes) {
    const next = await count(node.gateway, session);
    expect(next.instance).not.toBe(where.instance);
    expect(next.fence.claim > where.fence.claim || next.fence.epoch > where.fence.epoch).toBe(true);
  }
});

test("an open socket keeps a session from being idle", async () => {
  const gateway = gatewayOf(mesh());
  const client = await openSocket(gateway, "idle/watched");
  const before = await whereIs(gateway, "idle/watched");
  // Another session that went to rest later has stopped: the watched one would have, too.
  await whereIs(gateway, "idle/unwatched");
  await eventually(() => reasonsOf("idle/unwatched").length === 1, IDLE_MS);
  expect(reasonsOf("idle/watched")).toEqual([]);
  expect((await whereIs(gateway, "idle/watched")).instance).toBe(before.instance);
  client.socket.close();
  await eventually(() => reasonsOf("idle/watched").length === 1, IDLE_MS);
});

test("a session that destroys itself answers first, is told destroy, and starts anew", async () => {
  const gateway = gatewayOf(mesh(), "n2");
  expect((await count(gateway, "lasting/own-end")).count).toBe(1);
  const last = await fetch(`${gateway}/sessions/lasting/own-end`, { method: "DELETE" });
  expect(await last.json()).toMatchObject({ count: 2 });
  await eventually(() => reasonsOf("lasting/own-end").length === 1, IDLE_MS);
  expect(reasonsOf("lasting/own-end")).toEqual(["destroy"]);
  expect((await count(gateway, "lasting/own-end")).count).toBe(1);
});

test.for([
  ["throws", "throw", 500],
  ["rejects", "reject", 500],
  ["throws in a timer", "throw-later", 200],
] as const)("a session that %s loses itself and nothing else of its worker", async ([, how, status]) => {
  const gateway = gatewayOf(mesh());
  const { session, where } = await sessionWhere(gateway, "fragile", `${how}-`, () => true);
  const neighbours = await Promise.all(
    Array.from({ length: 3 }, (_, at) =>
      sessionWhere(gateway, "counter", `beside-${how}-${at}-`, (one) => one.pid === where.pid),
    ),
  );
  const [victim, bystander] = [await openSocket(gateway, session), await openSocket(gateway, `echo/${how}`)];

  const response = await fetch(`${gateway}/sessions/${session}/${how}`);
  expect(response.status).toBe(status);
  const body = await response.json();
  if (status === 500) expect(body).toMatchObject({ code: "session_crashed", session, retryable: false });
  expect((await victim.closed).code).toBe(1011);

  for (const node of mesh().nodes) {
    for (const neighbour of neighbours) {
      expect((await whereIs(node.gateway, neighbour.session)).instance).toBe(neighbour.where.instance);
    }
  }
  bystander.socket.send("here");
  await bystander.has(1);
  const next = await eventually(() => count(gateway, session), IDLE_MS);
  expect(next.instance).not.toBe(where.instance);
  expect(next.count).toBe(1);
  expect(reasonsOf(session)).toEqual([]);
});

test("sessions are told drain on SIGTERM and shutdown on SIGINT", async () => {
  for (const [signal, reason] of [
    ["SIGTERM", "drain"],
    ["SIGINT", "shutdown"],
  ] as const) {
    const own = await ownMesh({ nodes: 1, workers: 1, env: { TEST_JOURNAL: journal, MESH_DRAIN_MS: "200" } });
    const added = await own.addNode();
    const { session } = await sessionWhere(gatewayOf(own), "lasting", `${reason}-`, (one) => one.node === added.id);
    own.kill(added.id, signal);
    expect(await own.exitOf(added.id)).toEqual({ code: 0, signal: null });
    expect(reasonsOf(session)).toEqual([reason]);
  }
});

/** Reasons that onStop of the session was given, in order. */
function reasonsOf(session: string): string[] {
  let lines: string[] = [];
  try {
    lines = readFileSync(journal, "utf8").split("\n");
  } catch {
    // Nothing has stopped yet.
  }
  return lines.flatMap((line) => (line.startsWith(`${session} `) ? [line.slice(session.length + 1)] : []));
}
