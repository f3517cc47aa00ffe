// Nodes that reach the registry only by way of their peers: memberships over one bucket, in fake time.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryBucket, type MemoryBucket, type PeerPort } from "#mesh";
import { encodeLease, type RelayFrame } from "#proto";
import { OwnLease, type FoundLease, type LeaseEffect } from "../../mesh/lease.ts";
import { fakeClock, type FakeClock } from "../infra/fake-clock.ts";
import {
  deafPeers,
  faulty,
  memberIds,
  storedLease,
  storedView,
  testNode,
  timings,
  worker,
  type TestNode,
} from "./membership-nodes.ts";

const { heartbeatMs, suspendMs, evictMs } = timings;

let clock: FakeClock;
let bucket: MemoryBucket;
let nodes: TestNode[];
let kvs: ReturnType<typeof faulty>[];
/** Nodes that the others cannot reach, nor they them. */
let apart: Set<string>;
/** How long a question travels, and how long its answer. */
let travelMs: { there: number; back: number };
let relays: { from: string; to: string; ask: RelayFrame; at: number }[];

beforeEach(() => {
  clock = fakeClock();
  bucket = memoryBucket();
  nodes = [];
  kvs = [];
  apart = new Set();
  travelMs = { there: 0, back: 0 };
  relays = [];
});
afterEach(async () => {
  for (const node of nodes) await node.membership.close();
  // Answers that are still on their way.
  await clock.advance(20_000);
  expect(clock.pending).toBe(0);
});

const later = (ms: number): Promise<void> =>
  ms === 0 ? Promise.resolve() : new Promise((resolve) => void clock.timer(ms, () => resolve()));

function peersOf(self: string): PeerPort {
  const reach = async <T>(
    id: string,
    ask: (node: TestNode, me: TestNode) => T | Promise<T>,
  ): Promise<T | undefined> => {
    const [node, me] = [id, self].map((one) => nodes.find((other) => other.id === one));
    if (node === undefined || me === undefined || apart.has(self) || apart.has(id)) return new Promise(() => {});
    await later(travelMs.there);
    const answer = await ask(node, me);
    await later(travelMs.back);
    return answer;
  };
  return {
    ...deafPeers,
    probe: async () => "open",
    ask: async (node) =>
      (await reach(node.id, (asked, me) =>
        asked.membership.answerContact(self, me.incarnation) ? ("promised" as const) : ("denied" as const),
      )) ?? "unknown",
    relay: async (node, ask) => {
      relays.push({ from: self, to: node.id, ask, at: clock.now() });
      return reach(node.id, (asked) => asked.membership.answerRelay(self, ask));
    },
  };
}

async function mesh(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const kv = faulty(bucket.open());
    kvs.push(kv);
    const node = testNode(id, kv, clock, { peers: peersOf(id) });
    nodes.push(node);
    let done = false;
    void node.membership.join([worker(0, "w")]).finally(() => (done = true));
    await clock.until(() => done, 10_000);
  }
  await clock.advance(2 * heartbeatMs);
}

/** Whether all of the nodes act at every moment of the time. */
async function actThroughout(ms: number, who = nodes): Promise<boolean> {
  for (let passed = 0; passed < ms; passed += 50) {
    await clock.advance(50);
    if (who.some((node) => node.membership.suspended)) return false;
  }
  return true;
}

const view = (): Promise<string[]> => storedView(bucket.open()).then(memberIds);
const fenced = (): string[] => nodes.flatMap((node) => node.fenced);

describe("a node that alone cannot reach the registry", () => {
  test.each([2, 3, 10])("of %i serves on for as long as it lasts, and nobody evicts it", async (size) => {
    await mesh(Array.from({ length: size }, (_, at) => `n${at}`));
    kvs[0]!.cut = true;
    expect(await actThroughout(120_000)).toBe(true);
    expect((await view()).length).toBe(size);
    kvs[0]!.cut = false;
    expect(await actThroughout(10_000)).toBe(true);
    expect(fenced()).toEqual([]);
    expect(nodes[0]!.logs.filter((line) => line.includes("renews its lease"))).toHaveLength(1);
    expect(nodes[0]!.logs.filter((line) => line.includes("by itself again"))).toHaveLength(1);
  });

  test("and all others but one: the one renews the leases of all", async () => {
    // So many that trying them one after the other would take longer than a lease lasts.
    await mesh(Array.from({ length: 14 }, (_, at) => `n${at}`));
    for (const kv of kvs.slice(1)) kv.cut = true;
    expect(await actThroughout(20_000)).toBe(true);
    expect(fenced()).toEqual([]);
    expect((await view()).length).toBe(14);
  });

  test("asks one peer at a time, each for a bounded time, once a heartbeat when it is well", async () => {
    await mesh(["n0", "n1", "n2", "n3", "n4", "n5"]);
    kvs[0]!.cut = true;
    await clock.advance(5_000);
    relays.length = 0;
    await clock.advance(10 * heartbeatMs);
    const beats = relays.filter(({ ask }) => ask.key === "lease.n0");
    expect(beats.length).toBeGreaterThanOrEqual(9);
    expect(beats.length).toBeLessThanOrEqual(11);
    expect(new Set(beats.map(({ to }) => to)).size).toBe(1);
  });

  test("turns to others when the peer that helps it is cut off too, or vanishes", async () => {
    await mesh(["n0", "n1", "n2", "n3", "n4"]);
    kvs[0]!.cut = true;
    await clock.advance(5_000);
    const helper = (): string => relays.at(-1)!.to;
    const first = helper();
    kvs[Number(first[1])]!.cut = true;
    expect(await actThroughout(5_000)).toBe(true);
    expect(helper()).not.toBe(first);
    const second = helper();
    apart.add(second);
    expect(await actThroughout(5_000)).toBe(true);
    expect([first, second]).not.toContain(helper());
    expect(fenced()).toEqual([]);
  });

  test("turns to others when the registry does not answer the peer that asks for it", async () => {
    await mesh(["n0", "n1", "n2"]);
    kvs[0]!.cut = true;
    await clock.advance(3_000);
    const { to } = relays.at(-1)!;
    kvs[Number(to[1])]!.fate = (key) => (key === "lease.n0" ? "lost" : "written");
    expect(await actThroughout(10_000)).toBe(true);
    expect(relays.at(-1)!.to).not.toBe(to);
  });

  test("learns new views, and gets its own changes into them", async () => {
    await mesh(["n0", "n1", "n2"]);
    kvs[0]!.cut = true;
    await clock.advance(3_000);
    let changed = false;
    void nodes[0]!.membership.setWorkers([worker(0, "restarted")]).then(() => (changed = true));
    await clock.until(() => changed, 1_000);
    expect((await storedView(bucket.open()))?.nodes[0]?.workers[0]?.incarnation).toBe("restarted");
    await mesh(["n3"]);
    await clock.advance(2 * heartbeatMs);
    expect(memberIds(nodes[0]!.membership.view)).toEqual(["n0", "n1", "n2", "n3"]);
    let isGone = false;
    void nodes[0]!.membership.leave().then(() => (isGone = true));
    await clock.until(() => isGone, 2_000);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
    expect(await storedLease(bucket.open(), "n0")).toBe("none");
  });

  test("is suspended when its peers cannot be reached either, and evicted", async () => {
    await mesh(["n0", "n1", "n2"]);
    kvs[0]!.cut = true;
    apart.add("n0");
    await clock.advance(suspendMs);
    expect(nodes[0]!.membership.suspended).toBe(true);
    await clock.advance(evictMs);
    expect(await view()).toEqual(["n1", "n2"]);
  });

  test("comes back through a peer after a suspension, when the view holds it still", async () => {
    await mesh(["n0", "n1"]);
    // Half of the view is silent, so the registry is not suspected, and evictMs is not over.
    kvs[0]!.cut = true;
    apart.add("n0");
    await clock.advance(suspendMs + 100);
    expect(nodes[0]!.membership.suspended).toBe(true);
    apart.clear();
    await clock.until(() => !nodes[0]!.membership.suspended, 2 * heartbeatMs);
    expect(await actThroughout(10_000)).toBe(true);
    expect(fenced()).toEqual([]);
  });

  test("is fenced through whichever peer has contact when it was evicted before, and acts no more", async () => {
    const ids = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"];
    await mesh(ids);
    for (const kv of kvs.slice(0, 7)) kv.cut = true;
    apart.add("n0");
    await clock.advance(10_000);
    expect(await view()).toEqual(ids.slice(1));
    const deadlines = nodes[0]!.deadlines.length;
    apart.clear();
    await clock.until(() => nodes[0]!.fenced.length > 0, 5 * heartbeatMs);
    expect(nodes[0]!.deadlines).toHaveLength(deadlines);
  });

  test("judges nobody: it evicts no node whose lease it does not see", async () => {
    await mesh(["n0", "n1", "n2", "n3"]);
    kvs[0]!.cut = true;
    await clock.advance(20_000);
    await nodes[3]!.membership.close();
    await clock.advance(evictMs + 3 * heartbeatMs);
    expect(await view()).toEqual(["n0", "n1", "n2"]);
    expect(nodes[0]!.logs.filter((line) => line.includes("evicted a node"))).toEqual([]);
  });

  test("keeps its lease in a registry that loses everything meanwhile", async () => {
    await mesh(["n0", "n1", "n2"]);
    kvs[0]!.cut = true;
    await clock.advance(5_000);
    const kv = bucket.open();
    for (const entry of await kv.list()) await kv.remove(entry.key, entry.revision);
    expect(await actThroughout(15_000)).toBe(true);
    expect(await view()).toEqual(["n0", "n1", "n2"]);
    expect(await storedLease(kv, "n0")).toBe("live n0-1");
    expect(fenced()).toEqual([]);
  });
});

describe("a renewal by way of a peer", () => {
  test("counts from when it was asked for, not from when it was made or answered", async () => {
    await mesh(["n0", "n1"]);
    travelMs = { there: 150, back: 150 };
    kvs[0]!.cut = true;
    expect(await actThroughout(10_000)).toBe(true);
    const bounds = new Set(relays.map(({ at }) => at + suspendMs));
    expect(nodes[0]!.deadlines.slice(-8).filter((deadline) => !bounds.has(deadline))).toEqual([]);
  });

  test("that is made long after it was asked for gives the asker nothing", async () => {
    await mesh(["n0", "n1"]);
    travelMs = { there: 2_500, back: 0 };
    kvs[0]!.cut = true;
    await clock.advance(suspendMs);
    const { deadlines, membership } = nodes[0]!;
    const [before, lease] = [deadlines.length, await bucket.open().get("lease.n0")];
    expect(membership.suspended).toBe(true);
    await clock.advance(1_500);
    // The peer has made it: for the others a sign of life, for the asker too late.
    expect((await bucket.open().get("lease.n0"))!.revision).toBeGreaterThan(lease!.revision);
    await clock.advance(2_000);
    expect(membership.suspended).toBe(true);
    expect(deadlines).toHaveLength(before);
  });

  test("that races with an eviction loses to it at the lease's revision, and tells the asker", async () => {
    await mesh(["n0", "n1"]);
    kvs[0]!.cut = true;
    await clock.advance(3_000);
    const lease = await bucket.open().get("lease.n0");
    const mark = encodeLease({ state: "evicted", incarnation: "n0-1", by: "n1", opId: "x" });
    expect((await bucket.open().update("lease.n0", mark, lease!.revision)).status).toBe("written");
    await clock.advance(heartbeatMs);
    expect(nodes[0]!.fenced).toHaveLength(1);
    expect(await storedLease(bucket.open(), "n0")).not.toBe("live n0-1");
  });

  test("is made for the view and for the asker's own lease, reads for all leases, and only by a node with contact of its own", async () => {
    await mesh(["n0", "n1", "n2"]);
    const get = (key: string): RelayFrame => ({ operation: "get", key, value: new Uint8Array(), revision: 0 });
    const { membership } = nodes[1]!;
    expect((await membership.answerRelay("n0", get("view"))).outcome).toBe("entry");
    expect((await membership.answerRelay("n0", get("lease.n0"))).outcome).toBe("entry");
    expect((await membership.answerRelay("n0", get("lease.n2"))).outcome).toBe("entry");
    expect((await membership.answerRelay("n0", { ...get("lease.n2"), operation: "remove" })).outcome).toBe("away");
    expect((await membership.answerRelay("n0", get("something"))).outcome).toBe("away");
    kvs[1]!.fate = () => "lost";
    await clock.advance(3_000);
    // n1 acts, through a peer; that is not contact.
    expect(membership.suspended).toBe(false);
    expect((await membership.answerRelay("n0", get("view"))).outcome).toBe("away");
  });
});

test("on two ways at once no deadline lies beyond the send time of a heartbeat that the registry holds, plus suspendMs", () => {
  const event = fc.record({
    waitMs: fc.nat(600),
    way: fc.constantFrom("direct", "peer"),
    what: fc.constantFrom("send", "send", "land", "land", "answer", "answer", "lose", "read"),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80, size: "max" }), (events) => {
      const own = new OwnLease({ incarnation: "me", suspendMs, revision: 0 });
      let now = 0;
      let revision = 0;
      let key: FoundLease;
      let newestHeld = Number.NEGATIVE_INFINITY;
      const sentAt = new Map<string, number>();
      type Sent = { write: NonNullable<ReturnType<OwnLease["beat"]>>; outcome: "" | "conflict" | number };
      const under: Record<string, Sent[]> = { direct: [], peer: [] };
      const take = (effects: readonly LeaseEffect[]): void => {
        for (const effect of effects) {
          if (effect.type === "deadline") expect(effect.deadline).toBeLessThanOrEqual(newestHeld + suspendMs);
          if (effect.type === "confirm") take(own.confirmed(effect.until, now));
        }
      };
      for (const { waitMs, way, what } of events) {
        now += waitMs;
        take(own.tick(now));
        const mine = under[way]!;
        if (what === "send") {
          const write = own.beat(now, [])!;
          sentAt.set(write.lease.opId, now);
          mine.push({ write, outcome: "" });
        } else if (what === "land") {
          const sent = mine.find((one) => one.outcome === "");
          if (sent === undefined) continue;
          if ((key?.revision ?? 0) !== sent.write.revision) sent.outcome = "conflict";
          else {
            key = { revision: ++revision, lease: sent.write.lease };
            sent.outcome = revision;
            newestHeld = Math.max(newestHeld, sentAt.get(sent.write.lease.opId)!);
          }
        } else if (what === "answer") {
          const sent = mine.find((one) => one.outcome !== "");
          if (sent === undefined) continue;
          mine.splice(mine.indexOf(sent), 1);
          if (sent.outcome === "conflict") take(own.conflicted(key, now));
          else take(own.acknowledged(sent.write.lease.beat, Number(sent.outcome), now));
        } else if (what === "lose") {
          mine.shift();
        } else {
          take(own.conflicted(key, now));
        }
        expect(own.fenced).toBe(false);
        if (own.deadline !== Number.NEGATIVE_INFINITY) expect(own.deadline).toBeLessThanOrEqual(newestHeld + suspendMs);
        if (own.isLive(now)) expect(now).toBeLessThan(own.deadline);
      }
      // Whatever has become of it, the next heartbeat but one is written.
      for (let tries = 0; tries < 2; tries++) {
        const write = own.beat(now, [])!;
        if ((key?.revision ?? 0) === write.revision) return;
        take(own.conflicted(key, now));
      }
      throw new Error("the lease cannot be renewed any more");
    }),
    { numRuns: 500 },
  );
});
