// Memberships over a real nats-server that is killed, restarted, stopped and wiped.

import { afterEach, beforeEach, expect, test } from "vitest";
import { connectNats, systemClock, type Kv, type NatsLink } from "#mesh";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { memberIds, storedLease, storedView, testNode, worker, type TestNode } from "../mesh/membership-nodes.ts";

/** Shorter than in production, so that the tests are; the relations are the same. */
const timings = { heartbeatMs: 200, suspendMs: 1_000, evictMs: 1_500, outageCapMs: 20_000 };

let server: NatsServer;
let links: NatsLink[];
let nodes: TestNode[];
let kvs: Kv[];

beforeEach(async () => {
  server = await startNats();
  links = [];
  nodes = [];
  kvs = [];
  for (const id of ["n1", "n2", "n3"]) {
    const link = await connectNats(server.url, { name: id });
    const kv = await link.bucket("mesh", { replicas: 1, timeoutMs: 400 });
    links.push(link);
    kvs.push(kv);
    nodes.push(testNode(id, kv, systemClock, { timings }));
  }
  await Promise.all(nodes.map((node) => node.membership.join([worker(0, "w")])));
});
afterEach(async () => {
  for (const node of nodes) await node.membership.close();
  for (const link of links) await link.close();
  await server.remove();
});

const kv = (): Kv => kvs[0]!;
const fenced = (): string[] => nodes.flatMap((node) => node.fenced);
const epoch = async (): Promise<number> => (await storedView(kv()))?.epoch ?? 0;
/** All renew their leases and agree on the view that is stored. */
const allIsWell = async (): Promise<void> => {
  await expect
    .poll(
      async () => {
        const stored = await storedView(kv()).catch(() => undefined);
        return nodes.map((node) => node.membership.view.opId === stored?.opId && !node.membership.suspended);
      },
      { timeout: 10_000, interval: 50 },
    )
    .toEqual(nodes.map(() => true));
};

test("a killed server that starts again on its store costs no member and no view", async () => {
  await allIsWell();
  const before = await epoch();
  await server.kill("SIGKILL");
  server = await startNats({ storeDir: server.storeDir, port: server.port });
  await allIsWell();
  expect(memberIds(await storedView(kv()))).toEqual(["n1", "n2", "n3"]);
  expect(await epoch()).toBe(before);
  expect(fenced()).toEqual([]);
}, 20_000);

test("an outage beyond every deadline suspends all, evicts nobody, and ends by itself", async () => {
  await allIsWell();
  await server.kill("SIGKILL");
  await expect.poll(() => nodes.every((node) => node.membership.suspended), { timeout: 5_000 }).toBe(true);
  // Longer than evictMs in the dark: nobody may hold that against anybody.
  const dark = systemClock.now() + timings.evictMs;
  await expect.poll(() => systemClock.now() > dark, { timeout: 5_000 }).toBe(true);
  server = await startNats({ storeDir: server.storeDir, port: server.port });
  await allIsWell();
  expect(fenced()).toEqual([]);
  expect(memberIds(await storedView(kv()))).toEqual(["n1", "n2", "n3"]);
}, 20_000);

test("the loss of the whole store costs no member; the view is proposed again with a higher epoch", async () => {
  await allIsWell();
  const before = await epoch();
  await server.remove();
  server = await startNats({ port: server.port });
  await expect.poll(() => epoch().catch(() => 0), { timeout: 10_000 }).toBeGreaterThan(before);
  await allIsWell();
  expect(memberIds(await storedView(kv()))).toEqual(["n1", "n2", "n3"]);
  await expect.poll(() => storedLease(kv(), "n2")).toBe("live n2-1");
  expect(fenced()).toEqual([]);
}, 20_000);

test("a bucket that somebody deletes under a running mesh costs no member", async () => {
  await allIsWell();
  const before = await epoch();
  const { connect } = await import("@nats-io/transport-node");
  const { jetstreamManager } = await import("@nats-io/jetstream");
  const operator = await connect({ servers: server.url });
  await (await jetstreamManager(operator)).streams.delete("KV_mesh");
  await operator.close();
  await expect.poll(() => epoch().catch(() => 0), { timeout: 10_000 }).toBeGreaterThan(before);
  // All of them, although only the one whose write failed first knows that the bucket was gone.
  const soon = systemClock.now() + 2_000;
  await allIsWell();
  expect(systemClock.now()).toBeLessThan(soon);
  expect(memberIds(await storedView(kv()))).toEqual(["n1", "n2", "n3"]);
  expect(fenced()).toEqual([]);
}, 20_000);

test("a node that dies is evicted, and one that leaves is gone at once", async () => {
  await allIsWell();
  await nodes[2]!.membership.close();
  await expect.poll(async () => memberIds(await storedView(kv())), { timeout: 5_000 }).toEqual(["n1", "n2"]);
  expect(await storedLease(kv(), "n3")).toBe("evicted n3-1");
  await nodes[1]!.membership.leave();
  expect(memberIds(await storedView(kv()))).toEqual(["n1"]);
  expect(await storedLease(kv(), "n2")).toBe("none");
  await expect.poll(() => memberIds(nodes[0]!.membership.view)).toEqual(["n1"]);
  expect(fenced()).toEqual([]);
}, 20_000);

test("a server that hangs suspends all within their deadlines, and resumes them when it goes on", async () => {
  await allIsWell();
  await server.kill("SIGSTOP");
  await expect.poll(() => nodes.every((node) => node.membership.suspended), { timeout: 5_000 }).toBe(true);
  await server.kill("SIGCONT");
  await allIsWell();
  expect(fenced()).toEqual([]);
  expect(memberIds(await storedView(kv()))).toEqual(["n1", "n2", "n3"]);
}, 20_000);
