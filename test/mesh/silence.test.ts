// The observer of the others' leases.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rendezvousOrder } from "#placement";
import { Silence } from "../../mesh/silence.ts";
import { timings } from "./membership-nodes.ts";
import { viewOf } from "./views.ts";

const { heartbeatMs, suspendMs, evictMs, outageCapMs } = timings;

const meshOf = (size: number): ReturnType<typeof viewOf> =>
  viewOf(
    1,
    Array.from({ length: size }, (_, at) => ({ id: `n${at}`, workers: ["w"] })),
  );

/** An observer of a mesh, with its own heartbeats acknowledged until `now`. */
function observer(
  size: number,
  self = "n0",
): { silence: Silence; run: (untilMs: number, alive?: readonly string[]) => string[]; now: () => number } {
  const silence = new Silence(self, timings, () => 0.5);
  let now = 0;
  let revision = 0;
  silence.viewChanged(meshOf(size), now);
  silence.contact(now);
  return {
    silence,
    now: () => now,
    /** Lets time pass with heartbeats of ours and of those alive; who was due at any moment. */
    run(untilMs, alive = []) {
      const due = new Set<string>();
      while (now < untilMs) {
        now += 100;
        if (now % heartbeatMs === 0) {
          silence.contact(now);
          for (const id of alive) silence.seen(id, { revision: ++revision, evicted: undefined }, "watch", now);
        }
        for (const { id } of silence.due(now)) due.add(id);
      }
      return [...due];
    },
  };
}

/** Who acts first on the silence of `id`, among those able to. */
const firstFor = (id: string, size: number): string =>
  rendezvousOrder(
    `${id}@1`,
    meshOf(size)
      .nodes.map((node) => node.id)
      .filter((other) => other !== id),
  )[0]!;

describe("silence", () => {
  test("is acted upon at once by the first in rendezvous order, and later by the others", () => {
    const others = (self: string): string[] => ["n0", "n1", "n2", "n3"].filter((id) => id !== self && id !== "n4");
    for (const self of ["n0", "n1", "n2", "n3"]) {
      const { run } = observer(5, self);
      const due = run(evictMs, others(self));
      expect(due).toEqual(self === firstFor("n4", 5) ? ["n4"] : []);
      expect(run(evictMs + 2 * heartbeatMs, others(self))).toEqual(["n4"]);
    }
  });

  test("ends with a new revision, but not with one that a watch repeats", () => {
    const { silence, run } = observer(3);
    silence.seen("n2", { revision: 50, evicted: undefined }, "watch", 0);
    run(2_000, ["n1"]);
    silence.seen("n2", { revision: 49, evicted: undefined }, "watch", 2_000);
    silence.seen("n2", { revision: 50, evicted: undefined }, "read", 2_000);
    expect(run(evictMs + 2 * heartbeatMs, ["n1"])).toEqual(["n2"]);
  });

  test("is asked about from suspendMs on, once a heartbeat", () => {
    const { silence, run } = observer(3);
    run(suspendMs - 100, ["n1"]);
    expect(silence.suspects(suspendMs - 100)).toEqual([]);
    expect(silence.suspects(suspendMs)).toContain("n2");
    expect(silence.suspects(suspendMs + 100)).not.toContain("n2");
    expect(silence.suspects(suspendMs + heartbeatMs)).toContain("n2");
  });

  test("of a node that was marked needs no waiting", () => {
    const { silence, run, now } = observer(3, firstFor("n2", 3) === "n0" ? "n0" : "n1");
    run(500, ["n0", "n1", "n2"]);
    silence.seen("n2", { revision: 999, evicted: "n2-1" }, "watch", now());
    expect(silence.due(now())).toEqual([{ id: "n2", incarnation: "n2-1", revision: 999, marked: true }]);
  });

  test("of a former life is not held against the present one", () => {
    const { silence, run, now } = observer(3);
    run(500, ["n1", "n2"]);
    silence.seen("n2", { revision: 999, evicted: "an-older-life" }, "watch", now());
    expect(run(1_000, ["n1"])).toEqual([]);
  });
});

describe("the brakes", () => {
  test("more than half silent: nothing before the longest outage is over", () => {
    const { run } = observer(4);
    expect(run(outageCapMs + evictMs - 100)).toEqual([]);
    expect(run(outageCapMs + evictMs + 2 * heartbeatMs).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      "n1",
      "n2",
      "n3",
    ]);
  });

  test("half silent is not more than half", () => {
    expect(
      observer(4)
        .run(evictMs + 2 * heartbeatMs, ["n1"])
        .toSorted((a, b) => (a < b ? -1 : 1)),
    ).toEqual(["n2", "n3"]);
  });

  test("when most come back, those who do not get their whole time again", () => {
    const { run } = observer(4);
    run(10_000);
    expect(run(10_000 + evictMs - 500, ["n1", "n2"])).toEqual([]);
    expect(run(10_000 + evictMs + 3 * heartbeatMs, ["n1", "n2"])).toEqual(["n3"]);
  });
});

test("nobody is due within evictMs of any doubt about our own contact, nor of their own last sign", () => {
  const step = fc.record({
    waitMs: fc.integer({ min: 10, max: 900 }),
    event: fc.constantFrom("ack", "ack", "ack", "ack", "doubt", "stall", "n1", "n2", "n1", "n2"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.double({ min: 0, max: 0.99, noNaN: true }), (steps, random) => {
      const silence = new Silence("n0", timings, () => random);
      let now = 0;
      let revision = 0;
      let lastAck = 0;
      let doubtAt = 0;
      const sign = new Map([
        ["n1", 0],
        ["n2", 0],
        ["n3", 0],
      ]);
      silence.viewChanged(meshOf(4), 0);
      silence.contact(0);
      for (const { waitMs, event } of steps) {
        now += event === "stall" ? suspendMs + waitMs : waitMs;
        if (event === "doubt") {
          silence.restart(now);
          doubtAt = now;
        } else if (event === "n1" || event === "n2") {
          silence.seen(event, { revision: ++revision, evicted: undefined }, "watch", now);
          sign.set(event, now);
        }
        // A gap between two acknowledgements that is longer than suspendMs is doubt too, from its end on.
        if (now - lastAck > suspendMs) doubtAt = now;
        if (event === "ack") {
          silence.contact(now);
          lastAck = now;
        }
        for (const { id } of silence.due(now)) {
          expect(now - doubtAt).toBeGreaterThanOrEqual(evictMs);
          expect(now - (sign.get(id) ?? 0)).toBeGreaterThanOrEqual(evictMs);
        }
      }
    }),
    { numRuns: 500 },
  );
});
