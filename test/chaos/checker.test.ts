// The judge of histories itself: each promise, once kept and once broken.

import { describe, expect, test } from "vitest";
import { violations, type Fault } from "../cluster/history.ts";
import type { Asked } from "../cluster/traffic.ts";

const FIRST = { instance: "first", pid: 1, claim: 1 };
const SECOND = { instance: "second", pid: 2, claim: 2 };
const KILLED: Fault = { what: "kill -9", atMs: 100, overMs: 200, pids: [1], node: "n1" };

describe("a history is fine", () => {
  test("when one server counts on", () => {
    expect(violations([seen(FIRST, 1, 0, 10), seen(FIRST, 3, 11, 30), seen(FIRST, 2, 12, 20)], [])).toEqual([]);
  });

  test("when a killed server is replaced by a newer one that begins at 1", () => {
    const history = [seen(FIRST, 1, 0, 10), failed("session_lost", 95, 101), seen(SECOND, 1, 110, 150)];
    expect(violations(history, [KILLED])).toEqual([]);
  });

  test("when a count is missing whose answer was lost", () => {
    expect(
      violations([seen(FIRST, 1, 0, 10), failed("session_lost", 95, 101), seen(FIRST, 3, 102, 110)], [KILLED]),
    ).toEqual([]);
  });
});

describe("a node that fell silent explains", () => {
  test.for<[string, Asked[]]>([
    ["a request that hangs in its gateway", [{ ...broken(95, 1_900), outcome: { status: "hung", code: "" } }]],
    ["a connection to it that breaks late", [broken(1_500, 1_900)]],
    ["a request that it held until it was too late", [{ ...failed("timeout", 1_500, 1_900), through: "n2" }]],
    [
      "a request to one of its sessions that is lost late",
      [{ ...failed("session_lost", 1_500, 1_900), through: "n2" }],
    ],
  ])("%s", ([, history]) => {
    const silent: Fault = { ...KILLED, overMs: 2_000, silent: true };
    expect(violations(history, [silent])).toEqual([]);
    expect(violations(history, [{ ...silent, atMs: 5_000, overMs: 6_000 }])).toHaveLength(1);
    const elsewhere = history.map((one) => ({ ...one, outcome: { status: "hung", code: "" } as const, through: "n3" }));
    expect(violations(elsewhere, [silent])).toHaveLength(1);
    expect(violations(elsewhere, [{ ...silent, everywhere: true }])).toEqual([]);
  });
});

describe("a history is broken", () => {
  test.for<[string, Asked[], Fault[], RegExp]>([
    [
      "two servers answer in turn",
      [seen(FIRST, 1, 0, 10), seen(SECOND, 1, 110, 120), seen(FIRST, 2, 130, 140)],
      [KILLED],
      /older server/,
    ],
    [
      "two servers have one fence",
      [seen(FIRST, 1, 0, 10), seen({ ...SECOND, claim: 1 }, 1, 110, 120)],
      [KILLED],
      /two servers have fence/,
    ],
    ["a server gives a count twice", [seen(FIRST, 1, 0, 10), seen(FIRST, 1, 5, 20)], [], /twice/],
    ["a server counts what nobody asked", [seen(FIRST, 1, 0, 10), seen(FIRST, 3, 20, 30)], [], /more than was asked/],
    ["a server counts backwards", [seen(FIRST, 1, 20, 30), seen(FIRST, 2, 0, 10)], [], /backwards/],
    [
      "a server is replaced that nobody killed",
      [seen(FIRST, 1, 0, 10), seen(SECOND, 1, 20, 30)],
      [],
      /although its process lived/,
    ],
    [
      "a server is replaced before the kill",
      [seen(FIRST, 1, 0, 10), seen(SECOND, 1, 20, 30)],
      [KILLED],
      /although its process lived/,
    ],
    ["a request fails without a fault", [failed("session_lost", 0, 10)], [], /failed without/],
    ["a request fails long after the fault", [failed("no_host", 1_500, 1_600)], [KILLED], /failed without/],
    [
      "a request that begins well after a kill is lost to it",
      [failed("session_lost", 1_150, 1_160)],
      [{ ...KILLED, overMs: 3_000 }],
      /failed without/,
    ],
    ["a session crashes that nobody told to", [failed("session_crashed", 95, 101)], [KILLED], /failed without/],
    ["a request hangs", [{ ...broken(95, 101), outcome: { status: "hung", code: "" } }], [KILLED], /failed without/],
    ["another gateway's connection breaks", [{ ...broken(95, 101), through: "n2" }], [KILLED], /failed without/],
  ])("when %s", ([, history, faults, sentence]) => {
    expect(violations(history, faults)).toEqual([expect.stringMatching(sentence)]);
  });
});

function seen(server: typeof FIRST, count: number, startedMs: number, endedMs: number): Asked {
  const { claim, ...rest } = server;
  const answer = { name: "a", node: "n1", worker: 0, fence: { epoch: 1, claim }, count, ...rest };
  return { session: "counter/a", through: "n1", startedMs, endedMs, outcome: { status: "counted", answer } };
}

function failed(code: string, startedMs: number, endedMs: number): Asked {
  const retryable = code === "no_host";
  const outcome = { status: "refused", http: 502, code, retryable, detail: "" } as const;
  return { session: "counter/a", through: "n1", startedMs, endedMs, outcome };
}

function broken(startedMs: number, endedMs: number): Asked {
  return { session: "counter/a", through: "n1", startedMs, endedMs, outcome: { status: "broken", code: "ECONNRESET" } };
}
