// The registry as everybody else asks it: over NATS with a plain client, and from the command line.

import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectNats, type NatsLink } from "#mesh";
import { MeshError, integer, list, record, text } from "#proto";
import { count, whereIs } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { gatewayOf, sharedMesh } from "./test-mesh.ts";

const mesh = sharedMesh({ nodes: 3, workers: 2 });

const SESSIONS = 250;
const ANSWER_MS = 5_000;
const MESH = path.join(import.meta.dirname, "..", "..", "cli", "mesh.ts");

let nats: NatsLink;
beforeAll(async () => {
  nats = await connectNats(mesh().nats, { name: "a client of the registry" });
  const gateways = mesh().nodes.map((node) => node.gateway);
  await Promise.all(Array.from({ length: SESSIONS }, (_, at) => count(gateways[at % 3]!, `counter/s${at}`)));
  await whereIs(gatewayOf(mesh()), "echo/one");
});
afterAll(() => nats.close());

test("list gives every session once, sorted, page by page", async () => {
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await ask("list", { kind: "counter", limit: 60, ...(cursor === undefined ? {} : { cursor }) });
    expect(page["missing"]).toBeUndefined();
    const names = list(page["sessions"], "sessions").map((one) => text(record(one, "session")["name"], "name"));
    expect(names.length).toBeLessThanOrEqual(60);
    seen.push(...names);
    cursor = page["cursor"] === undefined ? undefined : text(page["cursor"], "cursor");
  } while (cursor !== undefined);
  expect(seen).toEqual(Array.from({ length: SESSIONS }, (_, at) => `s${at}`).sort());
});

test("get tells where a session is, whoever is asked, and null when it is not active", async () => {
  const where = await whereIs(gatewayOf(mesh()), "counter/s7");
  // Any node may answer; ask often enough to meet all of them.
  for (let at = 0; at < 10; at++) {
    const { session } = await ask("get", { kind: "counter", name: "s7" });
    expect(session).toMatchObject({
      ...{ kind: "counter", name: "s7", node: where.node, worker: where.worker, sockets: 0, inFlight: 0 },
      fence: `${where.fence.epoch}.${where.fence.claim}`,
    });
  }
  expect(await ask("get", { kind: "counter", name: "never-asked" })).toEqual({ session: null });
});

test("count is the sum over the nodes, of one kind or all, of one node or all", async () => {
  const all = await ask("count", { kind: "counter" });
  expect(all["count"]).toBe(SESSIONS);
  const byNode = record(all["byNode"], "byNode");
  expect(Object.keys(byNode).sort()).toEqual(["n1", "n2", "n3"]);
  expect(Object.values(byNode).reduce((sum: number, one) => sum + integer(one, "count"), 0)).toBe(SESSIONS);
  expect((await ask("count", { kind: "echo" }))["count"]).toBe(1);
  expect((await ask("count", {}))["count"]).toBe(SESSIONS + 1);
  expect((await ask("count", { kind: "counter", node: "n2" }))["count"]).toBe(byNode["n2"]);
});

test("nodes has every node with its gateway, process and workers, and soon its number of sessions", async () => {
  const nodes = await eventually(async () => {
    const answer = list((await ask("nodes", {}))["nodes"], "nodes").map((one) => record(one, "node"));
    return answer.reduce((sum, one) => sum + integer(one["sessions"], "sessions"), 0) === SESSIONS + 1 && answer;
  }, ANSWER_MS);
  for (const [at, node] of mesh().nodes.entries()) {
    expect(nodes[at]).toMatchObject({ id: node.id, state: "up", role: "host", gateway: node.gateway, pid: node.pid });
    expect(list(nodes[at]!["workers"], "workers")).toHaveLength(2);
  }
});

test("view is the same whoever answers", async () => {
  const views = await Promise.all(Array.from({ length: 10 }, () => ask("view", {})));
  for (const view of views) expect(view).toEqual(views[0]);
  expect(list(views[0]!["nodes"], "nodes")).toMatchObject([{ id: "n1" }, { id: "n2" }, { id: "n3" }]);
});

test.for([
  ["get", { kind: "counter" }, "bad_frame|bad_request"],
  ["get", { kind: "Not A Kind", name: "x" }, "bad_name"],
  ["list", { limit: -1 }, "bad_request"],
  ["list", { limit: "many" }, "bad_request"],
  ["count", { node: "n99" }, "bad_request"],
] as const)("%s of %j is refused with its code", async ([operation, body, codes]) => {
  const error = await ask(operation, body).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(MeshError);
  expect((error as MeshError).code).toMatch(new RegExp(`^(${codes})$`));
});

test("the command line gives the same answers as JSON", async () => {
  const seen: unknown[] = [];
  let cursor: string[] = [];
  do {
    const page = await cli("session", "list", "--kind", "counter", "--limit", "100", ...cursor);
    seen.push(...list(page["sessions"], "sessions"));
    cursor = page["cursor"] === undefined ? [] : ["--cursor", text(page["cursor"], "cursor")];
  } while (cursor.length > 0);
  expect(seen).toHaveLength(SESSIONS);
  expect(await cli("session", "count", "--kind", "counter")).toEqual(await ask("count", { kind: "counter" }));
  // Its age differs with the moment of the question.
  const { ageMs: _, ...session } = record((await ask("get", { kind: "counter", name: "s3" }))["session"], "session");
  expect(await cli("session", "get", "counter/s3")).toMatchObject(session);
  expect(await cli("registry", "view")).toEqual(await ask("view", {}));
  expect(await cli("node", "list")).toMatchObject({ nodes: [{ id: "n1" }, { id: "n2" }, { id: "n3" }] });
});

test("what stopped is no longer listed", async () => {
  await whereIs(gatewayOf(mesh()), "idle/short");
  await eventually(async () => (await ask("get", { kind: "idle", name: "short" }))["session"] === null, ANSWER_MS);
  expect((await ask("count", { kind: "idle" }))["count"]).toBe(0);
});

async function ask(operation: string, body: Record<string, unknown>): Promise<Record<string, unknown>> {
  return record(await nats.request(`mesh.${mesh().name}.registry.${operation}`, body, ANSWER_MS), operation);
}

async function cli(...args: string[]): Promise<Record<string, unknown>> {
  const { NATS_URL: _, MESH_NAME: __, ...env } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [MESH, ...args, "--json"], {
    cwd: mesh().launcher.folder,
    env,
  });
  return record(JSON.parse(stdout), args.join(" "));
}
