// Serving on without a registry: memberships that can or cannot ask each other, in fake time.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryBucket, type MemoryBucket, type PeerPort } from "#mesh";
import { OwnLease } from "../../mesh/lease.ts";
import { Silence } from "../../mesh/silence.ts";
import { fakeClock, type FakeClock } from "../infra/fake-clock.ts";
import { faulty, memberIds, storedView, testNode, timings, worker, type TestNode } from "./membership-nodes.ts";
import { viewOf } from "./views.ts";

const { heartbeatMs, suspendMs, evictMs, outageCapMs } = timings;

let clock: FakeClock;
let bucket: MemoryBucket;
let nodes: TestNode[];
let kvs: ReturnType<typeof faulty>[];
/** Nodes that cannot be reached by the others, nor reach them. */
let apart: Set<string>;
/** How long an answer takes. */
let answerMs: number;
/** Of so many questions the first is answered. */
let answeredIn: number;
/** Nodes whose process ended, as their lifelines told. */
let lifelines: Map<string, Set<() => void>>;

beforeEach(() => {
  clock = fakeClock();
  bucket = memoryBucket();
  nodes = [];
  kvs = [];
  apart = new Set();
  answerMs = 0;
  answeredIn = 1;
  lifelines = new Map();
});
afterEach(async () => {
  for (const node of nodes) await node.membership.close();
  await clock.advance(0);
  // What is left are answers of the test's own.
  if (answerMs === 0) expect(clock.pending).toBe(0);
});

/** Hosts at which nothing listens. */
const dead = new Set<string>();
const asks: number[] = [];
/** Questions of one node to another so far. */
const rounds = new Map<string, number>();

function peersOf(self: string): PeerPort {
  return {
    follow: ({ host }, onEnd) => {
      const ends = lifelines.get(host) ?? new Set();
      lifelines.set(host, ends.add(onEnd));
      return () => ends.delete(onEnd);
    },
    probe: async ({ host }) => (dead.has(host) ? "refused" : "open"),
    ask: (node) => {
      asks.push(clock.now());
      const asked = nodes.find((one) => one.id === node.id);
      if (asked === undefined || dead.has(node.id) || apart.has(self) || apart.has(node.id)) {
        return new Promise(() => {});
      }
      const round = rounds.get(`${self} ${node.id}`) ?? 0;
      rounds.set(`${self} ${node.id}`, round + 1);
      if (round % answeredIn !== 0) return new Promise(() => {});
      const me = nodes.find((one) => one.id === self)!;
      const answer = asked.membership.answerContact(self, me.incarnation) ? "promised" : "denied";
      return new Promise((resolve) => void clock.timer(answerMs, () => resolve(answer)));
    },
  };
}

async function mesh(ids: readonly string[], over: Partial<typeof timings> = {}): Promise<void> {
  dead.clear();
  rounds.clear();
  for (const id of ids) await joined(id, over);
  await clock.advance(2 * heartbeatMs);
}

async function joined(id: string, over: Partial<typeof timings> = {}): Promise<TestNode> {
  const kv = faulty(bucket.open());
  kvs.push(kv);
  const node = testNode(id, kv, clock, { peers: peersOf(id), timings: { ...timings, ...over }, host: id });
  nodes.push(node);
  let done = false;
  void node.membership
    .join([{ ...worker(0, "w"), address: { host: id, port: 2, socket: "", lifeline: 0 } }])
    .finally(() => (done = true));
  await clock.until(() => done, 60_000);
  return node;
}

async function kill(id: string): Promise<void> {
  dead.add(id);
  await nodes.find((node) => node.id === id)?.membership.close();
  for (const end of lifelines.get(id) ?? []) end();
}

const cutAll = (cut: boolean): void => {
  for (const kv of kvs) kv.cut = cut;
};
const view = (): Promise<string[]> => storedView(bucket.open()).then(memberIds);
const fenced = (): string[] => nodes.flatMap((node) => node.fenced);

/** Whether all of the nodes act at every moment of the time. */
async function actThroughout(ms: number, who = nodes): Promise<boolean> {
  for (let passed = 0; passed < ms; passed += 50) {
    await clock.advance(50);
    if (who.some((node) => node.membership.suspended)) return false;
  }
  return true;
}

describe("when no node reaches the registry", () => {
  test.each([1, 2, 3, 7])("%i nodes serve on, and none is evicted when it is back", async (size) => {
    await mesh(Array.from({ length: size }, (_, at) => `n${at}`));
    cutAll(true);
    expect(await actThroughout(30_000)).toBe(true);
    cutAll(false);
    expect(await actThroughout(10_000)).toBe(true);
    expect((await view()).length).toBe(size);
    expect(fenced()).toEqual([]);
  });

  test("they hold their sessions when it has lasted too long, and lose none", async () => {
    await mesh(["n1", "n2"]);
    cutAll(true);
    expect(await actThroughout(outageCapMs)).toBe(true);
    await clock.advance(suspendMs + heartbeatMs);
    expect(nodes.map((node) => node.membership.suspended)).toEqual([true, true]);
    cutAll(false);
    await clock.advance(2_000);
    expect(nodes.map((node) => node.membership.suspended)).toEqual([false, false]);
    expect(fenced()).toEqual([]);
  });

  test("a deadline counts from when the others were asked, not from their answers", async () => {
    await mesh(["n1", "n2"]);
    answerMs = 400;
    asks.length = 0;
    cutAll(true);
    expect(await actThroughout(10_000)).toBe(true);
    const bounds = new Set(asks.map((askedAt) => askedAt + suspendMs));
    expect(nodes.flatMap((node) => node.deadlines.slice(-5)).filter((deadline) => !bounds.has(deadline))).toEqual([]);
  });

  test("answers that take long keep all acting, each counted from its own question, also where most never come", async () => {
    await mesh(["n1", "n2", "n3"]);
    cutAll(true);
    expect(await actThroughout(3_000)).toBe(true);
    answerMs = 400;
    answeredIn = 3;
    rounds.clear();
    expect(await actThroughout(20_000)).toBe(true);
    answerMs = 900;
    answeredIn = 1;
    expect(await actThroughout(20_000)).toBe(true);
  });

  test("without a cap they serve for as long as it lasts", async () => {
    await mesh(["n1", "n2"], { outageCapMs: Infinity });
    cutAll(true);
    expect(await actThroughout(120_000)).toBe(true);
  });

  test("a node that is killed meanwhile costs the others nothing, and is evicted when the registry is back", async () => {
    await mesh(["n1", "n2", "n3"]);
    cutAll(true);
    await clock.advance(3_000);
    await kill("n3");
    expect(await actThroughout(5_000, nodes.slice(0, 2))).toBe(true);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
    cutAll(false);
    await clock.advance(2_000);
    expect(await view()).toEqual(["n1", "n2"]);
  });

  test("one that does not answer might still have contact: all hold until it does", async () => {
    await mesh(["n1", "n2", "n3"]);
    cutAll(true);
    apart.add("n3");
    await clock.advance(suspendMs + heartbeatMs);
    expect(nodes.map((node) => node.membership.suspended)).toEqual([true, true, true]);
    await clock.advance(5_000);
    apart.delete("n3");
    await clock.advance(2 * heartbeatMs);
    expect(await actThroughout(20_000)).toBe(true);
    cutAll(false);
    expect(await actThroughout(10_000)).toBe(true);
    expect(fenced()).toEqual([]);
  });

  test("one that dies before it has answered might have evicted us: all hold until the registry is back", async () => {
    await mesh(["n1", "n2", "n3"]);
    cutAll(true);
    apart.add("n3");
    await clock.advance(suspendMs + heartbeatMs);
    await kill("n3");
    apart.delete("n3");
    await clock.advance(10_000);
    expect(nodes.slice(0, 2).map((node) => node.membership.suspended)).toEqual([true, true]);
    cutAll(false);
    await clock.advance(5_000);
    expect(nodes.slice(0, 2).map((node) => node.membership.suspended)).toEqual([false, false]);
    expect(await view()).toEqual(["n1", "n2"]);
    expect(fenced()).toEqual([]);
  });

  test("a node that stands still for long goes on with the others when it is back", async () => {
    await mesh(["n1", "n2", "n3"]);
    cutAll(true);
    await clock.advance(3_000);
    apart.add("n1");
    await clock.advance(outageCapMs / 2);
    apart.delete("n1");
    await clock.advance(2 * heartbeatMs);
    expect(await actThroughout(10_000)).toBe(true);
  });
});

test("nodes that are cut off while one has contact hold, and are evicted", async () => {
  await mesh(["n1", "n2", "n3", "n4", "n5"]);
  kvs[0]!.cut = kvs[1]!.cut = true;
  await clock.advance(suspendMs);
  expect(nodes.slice(0, 2).map((node) => node.membership.suspended)).toEqual([true, true]);
  await clock.advance(evictMs);
  expect(await view()).toEqual(["n3", "n4", "n5"]);
});

test("a lone node that is cut off is not evicted by a newcomer that it cannot know, while it may be serving on", async () => {
  await mesh(["n1"]);
  kvs[0]!.cut = true;
  const newcomer = await joined("n2");
  expect(await actThroughout(outageCapMs - 5_000, nodes.slice(0, 1))).toBe(true);
  expect(await view()).toEqual(["n1", "n2"]);
  await clock.advance(5_000 + evictMs + 3 * heartbeatMs);
  expect(await view()).toEqual(["n2"]);
  expect(nodes[0]?.membership.suspended).toBe(true);
  expect(newcomer.membership.suspended).toBe(false);
});

test("nor is it thrown out by a process with its id, before it must have stopped", async () => {
  await mesh(["n1"]);
  kvs[0]!.cut = true;
  const [first] = nodes;
  const second = testNode("n1", bucket.open(), clock, { incarnation: "n1-2", peers: peersOf("n1") });
  nodes.push(second);
  let isIn = false;
  void second.membership.join([]).then(() => (isIn = true));
  expect(await actThroughout(outageCapMs - 1_000, [first!])).toBe(true);
  expect(isIn).toBe(false);
  await clock.until(() => isIn, 10_000);
  expect(first?.membership.suspended).toBe(true);
});

describe("killed nodes", () => {
  test("are evicted at once, even when they are most of the view", async () => {
    await mesh(["n1", "n2", "n3", "n4"]);
    for (const id of ["n1", "n2", "n3"]) await kill(id);
    await clock.advance(200);
    expect(await view()).toEqual(["n4"]);
    expect(nodes[3]?.membership.suspended).toBe(false);
  });

  test("are not evicted while a worker lives that the observer had not heard of", async () => {
    await mesh(["n1", "n2"]);
    kvs[0]!.blind = true;
    const address = { host: "elsewhere", port: 3, socket: "", lifeline: 0 };
    const [first] = nodes[1]!.membership.view.nodes[1]!.workers;
    const change = nodes[1]!.membership.setWorkers([first!, { ...worker(1, "later"), address }]);
    await clock.advance(100);
    await change;
    await kill("n2");
    await clock.advance(evictMs - 2 * heartbeatMs);
    expect(await view()).toEqual(["n1", "n2"]);
    dead.add("elsewhere");
    await clock.advance(500);
    expect(await view()).toEqual(["n1"]);
  });

  test("are not evicted when their lifeline alone has ended", async () => {
    await mesh(["n1", "n2"]);
    for (const end of lifelines.get("n2") ?? []) end();
    await clock.advance(20_000);
    expect(await view()).toEqual(["n1", "n2"]);
    expect(fenced()).toEqual([]);
  });
});

test("whatever happens, nobody acts while a peer that promised may evict, nor past the promise of any", () => {
  const step = fc.record({
    waitMs: fc.integer({ min: 10, max: 1_500 }),
    what: fc.constantFrom("ack", "silent", "ask", "ask", "ask"),
    travelMs: fc.nat(400),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const lease = new OwnLease({ incarnation: "d-1", suspendMs, revision: 0 });
      const peer = new Silence("p", timings, () => 0);
      let now = 0;
      let revision = 0;
      let bound = Number.NEGATIVE_INFINITY;
      const both = viewOf(1, [
        { id: "d", workers: ["w"] },
        { id: "p", workers: ["w"] },
      ]);
      peer.viewChanged(both, 0);
      peer.contact(0);
      const beat = (): void => {
        const sent = lease.beat(now, [], { epoch: 1, view: "" })!;
        lease.acknowledged(sent.lease.beat, ++revision, now);
        peer.seen("d", { revision, opId: `d.${revision}`, evicted: undefined, epoch: 1 }, "watch", now);
        bound = Math.max(bound, now + suspendMs);
      };
      // The peer has contact all along, which is worse than the truth: it evicts as soon as its rules let it.
      const look = (): boolean => {
        lease.tick(now);
        peer.contact(now);
        const evicts = peer.due(now).length > 0;
        expect(lease.deadline).toBeLessThanOrEqual(bound);
        if (evicts) expect(lease.isLive(now)).toBe(false);
        return evicts;
      };
      beat();
      for (const { waitMs, what, travelMs } of steps) {
        for (let passed = 0; passed < waitMs; passed += 50) {
          now += 50;
          if (look()) return;
        }
        if (what === "ack" && lease.isLive(now)) beat();
        if (what !== "ask") continue;
        const askedAt = now;
        now += travelMs;
        const promised = peer.promise("d", "d-1", now);
        now += travelMs;
        if (!promised) continue;
        lease.extended(askedAt, now);
        bound = Math.max(bound, askedAt + suspendMs);
        if (look()) return;
      }
    }),
    { numRuns: 500 },
  );
});
