// Memberships of many nodes over one bucket in memory, in fake time.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryBucket, type MemoryBucket } from "#mesh";
import { encodeLease, encodeView } from "#proto";
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

let clock: FakeClock;
let bucket: MemoryBucket;
let nodes: TestNode[];

beforeEach(() => {
  clock = fakeClock();
  bucket = memoryBucket();
  nodes = [];
});
afterEach(async () => {
  for (const node of nodes) await node.membership.close();
  await clock.advance(0);
  expect(clock.pending).toBe(0);
});

const start = (
  id: string,
  options: Parameters<typeof testNode>[3] & { kv?: ReturnType<typeof faulty> } = {},
): TestNode => {
  const node = testNode(id, options.kv ?? bucket.open(), clock, options);
  nodes.push(node);
  return node;
};

async function finish<T>(promise: Promise<T>, withinMs = 10_000): Promise<T> {
  let settled = false;
  const noted = promise.finally(() => (settled = true));
  noted.catch(() => {});
  await clock.until(() => settled, withinMs);
  return await noted;
}

async function started(id: string, options: Parameters<typeof start>[1] = {}): Promise<TestNode> {
  const node = start(id, options);
  await finish(node.membership.join([worker(0, `${id}-w0`)]));
  return node;
}

const view = (): Promise<string[]> => storedView(bucket.open()).then(memberIds);

describe("joining", () => {
  test("ten nodes that join at once end in one view that all of them see", async () => {
    const ids = Array.from({ length: 10 }, (_, at) => `n${at}`);
    const joining = ids.map((id) => start(id).membership.join([worker(0, `${id}-w0`)]));
    await finish(Promise.all(joining));
    const stored = await storedView(bucket.open());
    expect(memberIds(stored)).toEqual(ids);
    await clock.until(() => nodes.every((node) => node.membership.view.opId === stored?.opId), 1_000);
    for (const node of nodes) {
      const epochs = node.views.map((seen) => seen.epoch);
      expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
      expect(new Set(epochs).size).toBe(epochs.length);
      expect(node.membership.suspended).toBe(false);
      expect(node.views.every((seen) => memberIds(seen).includes(node.id))).toBe(true);
    }
  });

  test("a view that went by before the answer to a node's joining is not missed", async () => {
    await started("n1");
    const kv = faulty(bucket.open());
    const answer = Promise.withResolvers<void>();
    const { update } = kv;
    kv.update = async (key, value, revision) => {
      const written = await update(key, value, revision);
      if (key === "view") await answer.promise;
      return written;
    };
    const joining = start("n2", { kv });
    const joined = joining.membership.join([]);
    for (let ms = 0; ms < 2_000 && !(await view()).includes("n2"); ms += 10) await clock.advance(10);
    await started("n3");
    answer.resolve();
    await finish(joined);
    await clock.until(() => memberIds(joining.membership.view).includes("n3"), 1_000);
    expect(joining.views.map(memberIds).at(-1)).toEqual(["n1", "n2", "n3"]);
  });

  test("an id that a running node holds is refused, and the running node does not notice", async () => {
    const first = await started("n1");
    const second = start("n1", { incarnation: "n1-2" });
    await expect(finish(second.membership.join([]))).rejects.toMatchObject({ code: "bad_config" });
    await clock.advance(10_000);
    expect(first.fenced).toEqual([]);
    expect(await storedLease(bucket.open(), "n1")).toBe("live n1-1");
  });

  test("a node whose predecessor died without a word waits for its lease, and replaces it in one view", async () => {
    await started("n2");
    const dead = await started("n1");
    await dead.membership.close();
    const next = start("n1", { incarnation: "n1-2" });
    const began = clock.now();
    await finish(next.membership.join([worker(0, "w")]));
    expect(clock.now() - began).toBeGreaterThanOrEqual(timings.evictMs - timings.heartbeatMs);
    const stored = await storedView(bucket.open());
    expect(stored?.nodes.map((node) => node.incarnation)).toEqual(["n1-2", "n2-1"]);
  });

  test("a newcomer that could not read meanwhile does not take a running node's outage for its end", async () => {
    const [running, joining] = [faulty(bucket.open()), faulty(bucket.open())];
    const first = await started("n1", { kv: running });
    const second = start("n1", { kv: joining, incarnation: "n1-2" });
    const join = second.membership.join([]);
    join.catch(() => {});
    await clock.advance(100);
    running.cut = joining.cut = true;
    await clock.advance(2 * timings.evictMs);
    joining.cut = false;
    await clock.advance(timings.heartbeatMs + 50);
    running.cut = false;
    await expect(finish(join)).rejects.toMatchObject({ code: "bad_config" });
    await clock.advance(5_000);
    expect(first.fenced).toEqual([]);
  });

  test("a node that left can come back at once", async () => {
    const first = await started("n1");
    await finish(first.membership.leave());
    expect(await storedLease(bucket.open(), "n1")).toBe("none");
    expect(await view()).toEqual([]);
    const began = clock.now();
    await started("n1", { incarnation: "n1-2" });
    expect(clock.now() - began).toBeLessThan(timings.heartbeatMs);
  });

  test("without a registry a join ends with an error after a bounded time", async () => {
    const kv = faulty(bucket.open());
    kv.cut = true;
    const node = start("n1", { kv });
    await expect(finish(node.membership.join([]), 60_000)).rejects.toMatchObject({ code: "registry_unavailable" });
  });

  test("a join whose every answer is lost is made once", async () => {
    const kv = faulty(bucket.open());
    const seen = new Set<string>();
    // The first answer to each key is lost after the write, the one time that matters for `view`.
    kv.fate = (key) => {
      if (seen.has(key)) return "written";
      seen.add(key);
      return "silent";
    };
    const node = await started("n1", { kv });
    expect(await view()).toEqual(["n1"]);
    expect((await storedView(bucket.open()))?.epoch).toBe(1);
    expect(node.fenced).toEqual([]);
  });
});

describe("changes", () => {
  test("a replaced worker is in the view of all at once", async () => {
    const [one, two] = [await started("n1"), await started("n2")];
    await finish(one.membership.setWorkers([worker(0, "restarted")]));
    await clock.until(() => two.membership.view.nodes[0]?.workers[0]?.incarnation === "restarted", 100);
  });

  test("setting workers waits out a registry that is away, and the last list counts", async () => {
    const kv = faulty(bucket.open());
    const one = await started("n1", { kv });
    kv.cut = true;
    const first = one.membership.setWorkers([worker(0, "a")]);
    await clock.advance(60_000);
    const second = one.membership.setWorkers([worker(0, "b")]);
    kv.cut = false;
    const views = await finish(Promise.all([first, second]));
    expect(views.map((seen) => seen.nodes[0]?.workers[0]?.incarnation)).toEqual(["b", "b"]);
    expect(one.fenced).toEqual([]);
  });

  test("a draining node stays in the view, and one that left does not", async () => {
    const [one, two] = [await started("n1"), await started("n2")];
    await finish(one.membership.drain());
    expect((await storedView(bucket.open()))?.nodes[0]?.state).toBe("draining");
    await finish(one.membership.leave());
    await clock.until(() => memberIds(two.membership.view).length === 1, 100);
    await clock.advance(5_000);
    expect(await view()).toEqual(["n2"]);
    expect(one.fenced).toEqual([]);
  });

  test("every node learns every load", async () => {
    const load = [{ index: 0, sessions: 7, utilisation: 0.5, rssBytes: 1, lagMs: 0 }];
    const one = await started("n1", { load: () => load });
    const two = await started("n2");
    await clock.advance(1_500);
    expect(two.loads.get("n1")).toEqual(load);
    expect([...one.loads.keys()].toSorted((a, b) => (a < b ? -1 : 1))).toEqual(["n1", "n2"]);
  });
});

test("a view that the watch lost is read when the lease of a peer tells of it", async () => {
  const kv = faulty(bucket.open());
  const { watch } = kv;
  kv.watch = (onEntry, onGap) => watch((entry) => void (entry.key !== "view" && onEntry(entry)), onGap);
  const one = await started("n1", { kv });
  const two = await started("n2");
  await clock.advance(2 * timings.heartbeatMs);
  expect(one.membership.view).toEqual(two.membership.view);
});

describe("eviction", () => {
  test("a node that falls silent is evicted after evictMs, not before, and the others go on", async () => {
    const [one, two, dead] = [await started("n1"), await started("n2"), await started("n3")];
    await clock.advance(2_000);
    await dead.membership.close();
    await clock.advance(timings.evictMs - timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
    await clock.advance(2 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2"]);
    expect(await storedLease(bucket.open(), "n3")).toBe("evicted n3-1");
    expect([...one.fenced, ...two.fenced]).toEqual([]);
  });

  test("when the first to act is gone too, another completes the eviction", async () => {
    for (const id of ["n1", "n2", "n3", "n4", "n5"]) await started(id);
    await clock.advance(2_000);
    await nodes[3]?.membership.close();
    await nodes[4]?.membership.close();
    await clock.advance(timings.evictMs + 4 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
  });

  test("a mark without the view change is completed by whoever finds it", async () => {
    await started("n1");
    const kv = faulty(bucket.open());
    const two = await started("n2", { kv });
    kv.cut = true;
    const lease = await bucket.open().get("lease.n2");
    const mark = encodeLease({ state: "evicted", incarnation: "n2-1", by: "somebody", opId: "x" });
    await bucket.open().update("lease.n2", mark, lease?.revision ?? 0);
    await clock.advance(3 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1"]);
    kv.cut = false;
    await clock.until(() => two.fenced.length > 0, 1_000);
  });

  test("half of the nodes that end at once leave in one change of the view", async () => {
    const ends = new Map<string, (() => void)[]>();
    const peers = {
      ...deafPeers,
      follow: ({ host }: { host: string }, onEnd: () => void) => {
        ends.set(host, [...(ends.get(host) ?? []), onEnd]);
        return () => {};
      },
    };
    const ids = Array.from({ length: 12 }, (_, at) => `n${at}`);
    for (const id of ids) await started(id, { peers, host: id });
    await clock.advance(2_000);
    const before = await storedView(bucket.open());
    const dead = nodes.splice(6);
    for (const { membership } of dead) await membership.close();
    for (const { id } of dead) for (const end of ends.get(id) ?? []) end();
    await clock.until(() => nodes.every(({ membership }) => membership.view.nodes.length === 6), 400);
    const after = await storedView(bucket.open());
    expect(memberIds(after)).toEqual(ids.slice(0, 6).toSorted((a, b) => (a < b ? -1 : 1)));
    expect(after?.epoch).toBe((before?.epoch ?? 0) + 1);
  });

  test("one heartbeat of the observer without an answer makes it count anew", async () => {
    const kv = faulty(bucket.open());
    await started("n1", { kv });
    const two = await started("n2");
    await clock.advance(2_000);
    await two.membership.close();
    await clock.advance(timings.evictMs - 2 * timings.heartbeatMs);
    kv.fate = () => "lost";
    await clock.advance(timings.heartbeatMs);
    kv.fate = () => "written";
    await clock.advance(timings.evictMs - timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2"]);
    await clock.advance(3 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1"]);
  });

  test("an observer that was cut off itself evicts nobody when it comes back", async () => {
    const kv = faulty(bucket.open());
    await started("n1", { kv });
    const two = await started("n2");
    await clock.advance(2_000);
    // Both are cut off, so nothing changes in the registry for a long time; the observer comes back first.
    kv.cut = true;
    await two.membership.close();
    await clock.advance(20_000);
    kv.cut = false;
    await clock.advance(timings.evictMs - timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2"]);
    await clock.advance(timings.heartbeatMs * 3);
    expect(await view()).toEqual(["n1"]);
  });

  test("when more than half of the view is silent, silence counts only beyond the longest outage", async () => {
    const one = await started("n1");
    const dead = [await started("n2"), await started("n3")];
    await clock.advance(2_000);
    for (const node of dead) await node.membership.close();
    await clock.advance(timings.outageCapMs);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
    await clock.advance(timings.evictMs + 3 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1"]);
    expect(one.fenced).toEqual([]);
  });

  test("a node that falls silent right after two others have joined is evicted no later than any other", async () => {
    const one = await started("n1");
    // Its ports are open: it may be stopped, and go on at any moment.
    const peers = { ...deafPeers, probe: async () => "open" as const };
    for (const id of ["n2", "n3"]) await started(id, { peers });
    // Well before its next heartbeat is due.
    await clock.advance(50);
    await one.membership.close();
    await clock.advance(timings.evictMs + 3 * timings.heartbeatMs);
    expect(await view()).toEqual(["n2", "n3"]);
  });

  test("watches that go blind evict nobody who lives, and hide nobody who is dead", async () => {
    const kvs = ["n1", "n2", "n3"].map(() => faulty(bucket.open()));
    for (const [at, kv] of kvs.entries()) await started(`n${at + 1}`, { kv });
    for (const kv of kvs) kv.blind = true;
    await clock.advance(30_000);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
    await nodes[2]?.membership.close();
    // Its last heartbeat is found when it has seemed silent for suspendMs; who is not the first to act holds back for two heartbeats more.
    await clock.advance(timings.suspendMs + timings.evictMs + 4 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2"]);
    expect(nodes.flatMap((node) => node.fenced)).toEqual([]);
  });
});

describe("a node that loses the registry", () => {
  test("is suspended at its deadline, and resumes when the registry is back and has kept it", async () => {
    const kv = faulty(bucket.open());
    const one = await started("n1", { kv });
    // Cut off with it, and from it: nobody evicts, and nobody promises.
    await started("n2", { kv });
    await clock.advance(1_000);
    const deadline = one.deadlines.at(-1) ?? 0;
    kv.cut = true;
    await clock.advance(deadline - clock.now() - 1);
    expect(one.membership.suspended).toBe(false);
    await clock.advance(1);
    expect(one.membership.suspended).toBe(true);
    await clock.advance(10_000);
    expect(one.deadlines.at(-1)).toBe(deadline);
    kv.cut = false;
    await clock.until(() => !one.membership.suspended, 1_000);
    expect(one.deadlines.at(-1)).toBeGreaterThan(clock.now());
    expect(one.fenced).toEqual([]);
  });

  test("is fenced when the others evicted it meanwhile, and comes back with a new incarnation", async () => {
    const kv = faulty(bucket.open());
    await started("n1");
    await started("n2");
    const cut = await started("n3", { kv });
    kv.cut = true;
    await clock.advance(10_000);
    expect(await view()).toEqual(["n1", "n2"]);
    expect(cut.membership.suspended).toBe(true);
    expect(cut.fenced).toEqual([]);
    kv.cut = false;
    await clock.until(() => cut.fenced.length > 0, 1_000);
    expect(cut.fenced).toHaveLength(1);
    const deadlines = cut.deadlines.length;
    await expect(cut.membership.setWorkers([])).rejects.toMatchObject({ code: "suspended" });
    const began = clock.now();
    await started("n3", { incarnation: "n3-2" });
    expect(clock.now() - began).toBeLessThan(timings.heartbeatMs);
    expect(cut.deadlines).toHaveLength(deadlines);
  });

  test("that was evicted from a registry that lost the mark is fenced by the view before it acts again", async () => {
    const kv = faulty(bucket.open());
    await started("n1");
    await started("n2");
    const cut = await started("n3", { kv });
    kv.cut = true;
    // Not as long as to be reading the view anyway when it comes back.
    await clock.advance(6_000);
    const mark = await bucket.open().get("lease.n3");
    await bucket.open().remove("lease.n3", mark?.revision ?? 0);
    const deadlines = cut.deadlines.length;
    // No gap is reported: the acknowledged heartbeat alone has to make it look.
    kv.blind = true;
    kv.cut = false;
    await clock.until(() => cut.fenced.length > 0, 2_000);
    expect(cut.deadlines).toHaveLength(deadlines);
    // The lease that it had just renewed does not stand in the way of its next life.
    const began = clock.now();
    await started("n3", { incarnation: "n3-2" });
    expect(clock.now() - began).toBeLessThanOrEqual(2 * timings.heartbeatMs);
    expect(await view()).toEqual(["n1", "n2", "n3"]);
  });

  test("loses no lease to a heartbeat whose answer was lost", async () => {
    const kv = faulty(bucket.open());
    const one = await started("n1", { kv });
    await started("n2");
    let beats = 0;
    kv.fate = (key) => (key === "lease.n1" && beats++ % 3 !== 0 ? "silent" : "written");
    await clock.advance(30_000);
    expect(one.fenced).toEqual([]);
    expect(one.membership.suspended).toBe(false);
  });
});

describe("a registry that goes back", () => {
  test("by losing everything costs no member, and the view comes back with a higher epoch", async () => {
    for (const id of ["n1", "n2", "n3"]) await started(id);
    const before = await storedView(bucket.open());
    const kv = bucket.open();
    for (const entry of await kv.list()) await kv.remove(entry.key, entry.revision);
    await clock.advance(15_000);
    const after = await storedView(kv);
    expect(memberIds(after)).toEqual(["n1", "n2", "n3"]);
    expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0);
    expect(nodes.flatMap((node) => node.fenced)).toEqual([]);
    expect(nodes.some((node) => node.membership.suspended)).toBe(false);
    expect(new Set(nodes.map((node) => node.membership.view.opId)).size).toBe(1);
    expect(await storedLease(kv, "n1")).toBe("live n1-1");
  });

  test("to an older view is repaired at once, by what the members have seen", async () => {
    await started("n1");
    const kv = bucket.open();
    const old = await storedView(kv);
    await started("n2");
    const entry = await kv.get("view");
    await kv.update("view", encodeView(old ?? { epoch: 0, founding: "", opId: "", nodes: [] }), entry?.revision ?? 0);
    await clock.advance(100);
    const after = await storedView(kv);
    expect(memberIds(after)).toEqual(["n1", "n2"]);
    expect(after?.epoch).toBeGreaterThan(2);
    expect(nodes.flatMap((node) => node.fenced)).toEqual([]);
  });

  test("is repaired by those who were there all the time, not by one who was evicted meanwhile and knows less", async () => {
    const kvs = ["n1", "n2", "n3"].map(() => faulty(bucket.open()));
    for (const [at, kv] of kvs.entries()) await started(`n${at + 1}`, { kv });
    const [one, two, three] = kvs;
    three!.cut = true;
    await clock.advance(6_000);
    expect(await view()).toEqual(["n1", "n2"]);
    const deadlines = nodes[2]?.deadlines.length;
    one!.cut = two!.cut = true;
    const kv = bucket.open();
    for (const entry of await kv.list()) await kv.remove(entry.key, entry.revision);
    await clock.advance(timings.heartbeatMs);
    three!.cut = false;
    await clock.advance(timings.heartbeatMs + 100);
    one!.cut = two!.cut = false;
    await clock.until(() => nodes[2]?.fenced.length === 1, 5_000);
    expect(nodes[2]?.deadlines).toHaveLength(deadlines ?? 0);
    expect(await view()).toEqual(["n1", "n2"]);
    expect([...(nodes[0]?.fenced ?? []), ...(nodes[1]?.fenced ?? [])]).toEqual([]);
  });

  test("to views that others have gone on from fences no member whose lease never lapsed", async () => {
    const one = await started("n1");
    const kv = bucket.open();
    const entry = await kv.get("view");
    // More views than n1 has seen, none with n1: what two others made of one from before it joined.
    const other = { ...one.membership.view, epoch: 50, opId: "other", nodes: [] };
    await kv.update("view", encodeView(other), entry?.revision ?? 0);
    await clock.advance(1_000);
    expect(await view()).toEqual(["n1"]);
    expect(one.membership.view.epoch).toBe(51);
    expect(one.fenced).toEqual([]);
  });

  test("to a view that nobody can read is repaired by a member", async () => {
    await started("n1");
    const kv = bucket.open();
    const entry = await kv.get("view");
    await kv.update("view", Buffer.from("not a view"), entry?.revision ?? 0);
    await clock.advance(100);
    expect(await view()).toEqual(["n1"]);
  });
});

describe("two meshes that were founded apart in one registry", () => {
  /** n1 and n2 are cut off while the registry loses everything and n9 finds it empty. */
  async function strangers(options: { cutMs: number; date?: () => number }) {
    const ours = [faulty(bucket.open()), faulty(bucket.open())];
    const theirs = faulty(bucket.open());
    await started("n1", { kv: ours[0]! });
    await started("n2", { kv: ours[1]! });
    const { founding } = (await storedView(bucket.open()))!;
    await clock.advance(1_000);
    for (const kv of ours) kv.cut = true;
    await clock.advance(100);
    const kv = bucket.open();
    for (const entry of await kv.list()) await kv.remove(entry.key, entry.revision);
    const stranger = await started("n9", { kv: theirs, ...(options.date && { date: options.date }) });
    const other = (await storedView(bucket.open()))!.founding;
    expect(other).not.toBe(founding);
    await clock.advance(options.cutMs);
    const meet = (): void => ours.forEach((one) => (one.cut = false));
    return { founding, other, stranger, theirs, meet, fences: () => nodes.map((node) => node.fenced.length) };
  }

  test("do not become one: the older goes on, the other is fenced and its nodes join anew", async () => {
    const { founding, stranger, meet, fences } = await strangers({ cutMs: 500 });
    meet();
    await clock.advance(100);
    expect(fences()).toEqual([0, 0, 1]);
    expect(stranger.membership.suspended).toBe(true);
    expect(stranger.fenced[0]).toContain(founding);
    expect(await view()).toEqual(["n1", "n2"]);
    const deadlines = stranger.deadlines.length;
    await started("n9", { incarnation: "n9-2" });
    await clock.advance(5_000);
    expect(await storedView(bucket.open())).toMatchObject({ founding, nodes: [{}, {}, { incarnation: "n9-2" }] });
    expect(fences()).toEqual([0, 0, 1, 0]);
    expect(stranger.deadlines).toHaveLength(deadlines);
  });

  test("come to the same end when the one that returns is the younger", async () => {
    const { other, meet, fences } = await strangers({ cutMs: 500, date: () => 0 });
    meet();
    await clock.advance(100);
    expect(fences()).toEqual([1, 1, 0]);
    await started("n1", { incarnation: "n1-2" });
    await clock.advance(5_000);
    expect(await storedView(bucket.open())).toMatchObject({ founding: other, nodes: [{ incarnation: "n1-2" }, {}] });
    expect(fences()).toEqual([1, 1, 0, 0]);
  });

  test("whoever comes back after its lease has run out gives way, however old its mesh", async () => {
    const { other, meet, fences } = await strangers({ cutMs: timings.suspendMs });
    const deadlines = nodes[0]!.deadlines.length;
    meet();
    await clock.advance(2 * timings.heartbeatMs);
    expect(fences()).toEqual([1, 1, 0]);
    expect(nodes[0]!.deadlines).toHaveLength(deadlines);
    expect((await storedView(bucket.open()))?.founding).toBe(other);
  });

  test("a member of the one that gave way whose watch is blind learns it with its next heartbeat", async () => {
    const { stranger, theirs, meet, fences } = await strangers({ cutMs: 500 });
    theirs.blind = true;
    meet();
    await clock.advance(timings.heartbeatMs + 100);
    expect(fences()).toEqual([0, 0, 1]);
    expect(stranger.membership.suspended).toBe(true);
  });
});

test("reading again shows what a peer has seen first, even when watches are blind", async () => {
  const kv = faulty(bucket.open());
  const one = await started("n1", { kv });
  kv.blind = true;
  const two = await started("n2");
  expect(memberIds(one.membership.view)).toEqual(["n1"]);
  expect(memberIds(await finish(one.membership.refresh(two.membership.view.epoch)))).toEqual(["n1", "n2"]);
});
