// The proof that a node is gone, with senses that a test decides.

import { beforeEach, describe, expect, test } from "vitest";
import type { ProbeResult, TcpAddress } from "#mesh";
import type { NodeRecord, View } from "#proto";
import { Evidence } from "../../mesh/evidence.ts";
import { fakeClock, type FakeClock } from "../infra/fake-clock.ts";
import { viewOf } from "./views.ts";

/** A view in which every address is its own: a lifeline at 100, workers from 101 on, their lifelines from 201 on. */
function withPorts(epoch: number, workers: readonly string[], incarnation = "n2-1"): View {
  const [n1, n2] = viewOf(epoch, [
    { id: "n1", workers: ["w"] },
    { id: "n2", workers },
  ]).nodes;
  const node: NodeRecord = {
    ...n2!,
    incarnation,
    lifeline: { host: "n2", port: 100 },
    workers: n2!.workers.map((worker) => ({
      ...worker,
      address: { host: "n2", port: 101 + worker.index, socket: "", lifeline: 201 + worker.index },
    })),
  };
  return { epoch, founding: "one", opId: "op", nodes: [n1!, node] };
}

let clock: FakeClock;
let ends: Map<number, () => void>;
let answers: Map<number, ProbeResult>;
let probed: number[];
let gone: NodeRecord[];
let ended: string[];
let evidence: Evidence;

beforeEach(() => {
  clock = fakeClock();
  ends = new Map();
  answers = new Map();
  probed = [];
  gone = [];
  ended = [];
  evidence = new Evidence({
    self: "n1",
    clock,
    senses: {
      follow: ({ port }: TcpAddress, onEnd) => {
        ends.set(port, onEnd);
        return () => ends.delete(port);
      },
      probe: async ({ port }) => {
        probed.push(port);
        return answers.get(port) ?? "refused";
      },
    },
    onEnd: (node) => ended.push(node.incarnation),
    onGone: (node) => gone.push(node),
  });
});

const cut = (port = 100): void => ends.get(port)?.();

describe("a node whose lifeline ended", () => {
  test("is gone when all its ports refuse, twice", async () => {
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut();
    expect(evidence.ended("n2", "n2-1")).toBe(true);
    expect(ended).toEqual(["n2-1"]);
    await clock.advance(0);
    expect(gone).toEqual([]);
    await clock.advance(100);
    expect(gone.map((node) => node.id)).toEqual(["n2"]);
    expect(probed).toEqual([100, 101, 102, 100, 101, 102]);
    expect(evidence.proves(gone[0]!)).toBe(true);
    evidence.stop();
  });

  test.each<ProbeResult>(["open", "unknown"])("is not gone while one port is %s", async (result) => {
    answers.set(102, result);
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut();
    await clock.advance(5_000);
    expect(gone).toEqual([]);
    answers.set(102, "refused");
    await clock.advance(1_000);
    expect(gone).toHaveLength(1);
    evidence.stop();
  });

  test("is not gone by two looks that found nothing with one between that did", async () => {
    evidence.viewChanged(withPorts(1, ["a"]));
    cut();
    await clock.advance(50);
    answers.set(101, "open");
    await clock.advance(100);
    answers.delete(101);
    await clock.advance(100);
    expect(gone).toEqual([]);
    await clock.advance(100);
    expect(gone).toHaveLength(1);
    evidence.stop();
  });

  test("is not proven gone by what was known of it before a worker more came into the view", async () => {
    evidence.viewChanged(withPorts(1, ["a"]));
    cut();
    await clock.advance(200);
    expect(gone).toHaveLength(1);
    const later = withPorts(2, ["a", "b"]);
    expect(evidence.proves(later.nodes[1]!)).toBe(false);
    answers.set(102, "open");
    evidence.viewChanged(later);
    await clock.advance(5_000);
    expect(gone).toHaveLength(1);
    answers.delete(102);
    await clock.advance(1_000);
    expect(gone).toHaveLength(2);
    expect(evidence.proves(later.nodes[1]!)).toBe(true);
    evidence.stop();
  });

  test("counts for its former life alone once another has joined", async () => {
    evidence.viewChanged(withPorts(1, ["a"]));
    cut();
    await clock.advance(50);
    evidence.viewChanged(withPorts(2, ["b"], "n2-2"));
    await clock.advance(5_000);
    expect(gone).toEqual([]);
    expect(evidence.ended("n2", "n2-2")).toBe(false);
    cut();
    await clock.advance(200);
    expect(gone.map((node) => node.incarnation)).toEqual(["n2-2"]);
    evidence.stop();
  });
});

describe("a node whose address went with its processes", () => {
  beforeEach(() => {
    for (const port of [100, 101, 102]) answers.set(port, "unknown");
  });

  test("is gone when the lifelines of all its processes have ended, after two looks that find nothing open", async () => {
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    for (const port of [202, 100, 201]) cut(port);
    await clock.advance(0);
    // A worker that stood in no view yet may still follow its primary.
    expect(gone).toEqual([]);
    await clock.advance(100);
    expect(gone.map((node) => node.id)).toEqual(["n2"]);
    expect(probed).toEqual([100, 101, 102, 100, 101, 102]);
    evidence.stop();
  });

  test("is not gone while one of its workers has not told its end", async () => {
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut(100);
    cut(201);
    await clock.advance(60_000);
    expect(gone).toEqual([]);
    cut(202);
    await clock.advance(200);
    expect(gone).toHaveLength(1);
    evidence.stop();
  });

  test("is gone when those that refuse do so twice, and the others have told their end", async () => {
    answers.delete(102);
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut(100);
    cut(201);
    await clock.advance(0);
    expect(gone).toEqual([]);
    await clock.advance(100);
    expect(gone).toHaveLength(1);
    evidence.stop();
  });

  test("is not gone by the end of a worker's former life", async () => {
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut(201);
    evidence.viewChanged(withPorts(2, ["c", "b"]));
    cut(100);
    cut(202);
    await clock.advance(60_000);
    expect(gone).toEqual([]);
    cut(201);
    await clock.advance(200);
    expect(gone).toHaveLength(1);
    evidence.stop();
  });

  test("is not gone by the ends of its workers while its primary's lifeline holds", async () => {
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    cut(201);
    cut(202);
    await clock.advance(60_000);
    expect(gone).toEqual([]);
    expect(probed).toEqual([]);
    evidence.stop();
  });
});

test.each([100, 101, 102])(
  "ended lifelines prove nothing while port %d is open: who stands between closes too",
  async (port) => {
    answers.set(port, "open");
    evidence.viewChanged(withPorts(1, ["a", "b"]));
    for (const ended of [100, 201, 202]) cut(ended);
    await clock.advance(60_000);
    expect(gone).toEqual([]);
    evidence.stop();
  },
);

test("refused ports alone prove nothing: a firewall refuses too, and a node may be replacing its only worker", async () => {
  evidence.viewChanged(withPorts(1, ["a"]));
  evidence.viewChanged(withPorts(2, []));
  await clock.advance(60_000);
  expect(gone).toEqual([]);
  expect(probed).toEqual([]);
  expect(await evidence.isClosed(withPorts(1, ["a"]).nodes[1]!)).toBe(true);
  evidence.stop();
});

test("nothing is followed, and nothing waits, after the end", async () => {
  answers.set(101, "open");
  evidence.viewChanged(withPorts(1, ["a"]));
  cut();
  await clock.advance(0);
  evidence.stop();
  await clock.advance(0);
  expect(ends.size).toBe(0);
  expect(clock.pending).toBe(0);
});
