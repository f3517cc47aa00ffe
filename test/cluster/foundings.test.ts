// Two meshes that meet in one real NATS: it loses everything while the members of the first cannot reach it, and a stranger founds another.

import { onTestFinished, expect, test } from "vitest";
import { connectNats, systemClock, type Kv, type PeerPort } from "#mesh";
import { startNats, type NatsServer } from "../infra/nats-server.ts";
import { startTcpProxy } from "../infra/tcp-proxy.ts";
import { deafPeers, memberIds, storedView, testNode, worker, type TestNode } from "../mesh/membership-nodes.ts";

/** Shorter than in production, so that the tests are; the relations are the same. */
const timings = { heartbeatMs: 200, suspendMs: 1_000, evictMs: 1_500, outageCapMs: 20_000 };
const WAIT_MS = 10_000;

test.for([
  { lease: "never lapsed go on, and the stranger's", promises: true, fences: [0, 0, 1] },
  { lease: "has lapsed give way, and the stranger's goes on and not", promises: false, fences: [1, 1, 0] },
])("members whose lease $lease mesh ends", async ({ promises, fences }) => {
  const nodes: TestNode[] = [];
  const start = async (id: string, url: string): Promise<Kv> => {
    const link = await connectNats(url, { name: id });
    const kv = await link.bucket("mesh", { replicas: 1, timeoutMs: 400 });
    const peers: PeerPort = {
      ...deafPeers,
      probe: async () => "open",
      ask: async (node) => {
        const asked = nodes.find((one) => one.id === node.id);
        if (!promises || asked === undefined) return "unknown";
        return asked.membership.answerContact(id, `${id}-1`) ? "promised" : "denied";
      },
    };
    const node = testNode(id, kv, systemClock, { timings, peers, date: Date.now });
    nodes.push(node);
    onTestFinished(async () => {
      await node.membership.close();
      await link.close();
    });
    await node.membership.join([worker(0, "w")]);
    return kv;
  };
  const first = await ownNats();
  const proxy = await startTcpProxy({ host: "127.0.0.1", port: first.port });
  onTestFinished(() => proxy.close());
  for (const id of ["n1", "n2"]) await start(id, `nats://127.0.0.1:${proxy.port}`);
  const ours = nodes[0]!.membership.view.founding;
  // Each of the two has to know that the other knows it before it may do without the registry.
  await expect.poll(() => nodes.map((node) => node.membership.view.nodes.length), { timeout: WAIT_MS }).toEqual([2, 2]);

  proxy.silent = true;
  await first.remove();
  const second = await ownNats(first.port);
  const kv = await start("n9", second.url);
  const theirs = (await storedView(kv))!.founding;
  expect(theirs > ours).toBe(true);
  const soon = systemClock.now() + timings.evictMs;
  await expect.poll(() => systemClock.now() > soon, { timeout: WAIT_MS }).toBe(true);
  expect(nodes.slice(0, 2).map((node) => node.membership.suspended)).toEqual([!promises, !promises]);

  proxy.silent = false;
  await expect.poll(() => nodes.map((node) => node.fenced.length), { timeout: WAIT_MS }).toEqual(fences);
  const stored = await storedView(kv);
  expect(stored?.founding).toBe(promises ? ours : theirs);
  expect(memberIds(stored)).toEqual(promises ? ["n1", "n2"] : ["n9"]);
});

async function ownNats(port?: number): Promise<NatsServer> {
  const nats = await startNats(port === undefined ? {} : { port });
  onTestFinished(() => nats.remove());
  return nats;
}
