// The observer of the others' leases.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rendezvousOrder } from "#placement";
import { Silence, type LeaseSighting } from "../../mesh/silence.ts";
import { timings } from "./membership-nodes.ts";
import { viewOf } from "./views.ts";

function sight(revision: number, evicted: string | undefined, epoch: number): LeaseSighting {
  return { revision, opId: `w.${revision}`, evicted, epoch };
}

const { heartbeatMs, suspendMs, evictMs, outageCapMs } = timings;

const meshOf = (size: number): ReturnType<typeof viewOf> =>
  viewOf(
    1,
    Array.from({ length: size }, (_, at) => ({ id: `n${at}`, workers: ["w"] })),
  );

/** An observer of a mesh, with its own heartbeats acknowledged until `now`. By default all others know it. */
function observer(
  size: number,
  self = "n0",
  epochSeen = 1,
): { silence: Silence; run: (untilMs: number, alive?: readonly string[]) => string[]; now: () => number } {
  const silence = new Silence(self, timings, () => 0.5);
  let now = 0;
  let revision = 0;
  silence.viewChanged(meshOf(size), now);
  silence.contact(now);
  for (const { id } of meshOf(size).nodes) silence.seen(id, sight(++revision, undefined, epochSeen), "read", now);
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
          for (const id of alive) silence.seen(id, sight(++revision, undefined, 1), "watch", now);
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
    silence.seen("n2", sight(50, undefined, 1), "watch", 0);
    run(2_000, ["n1"]);
    silence.seen("n2", sight(49, undefined, 1), "watch", 2_000);
    silence.seen("n2", sight(50, undefined, 1), "read", 2_000);
    expect(run(evictMs + 2 * heartbeatMs, ["n1"])).toEqual(["n2"]);
  });

  test("ends with another write at the same revision, which a registry that went back gives away again", () => {
    const { silence, run } = observer(3);
    silence.seen("n2", sight(50, undefined, 1), "read", 0);
    run(2_000, ["n1"]);
    silence.seen("n2", { ...sight(50, undefined, 1), opId: "a later one" }, "read", 2_000);
    expect(run(evictMs + 2 * heartbeatMs, ["n1"])).toEqual([]);
    expect(run(2_000 + evictMs + 2 * heartbeatMs, ["n1"])).toEqual(["n2"]);
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
    silence.seen("n2", sight(999, "n2-1", 1), "watch", now());
    expect(silence.due(now())).toEqual([{ id: "n2", incarnation: "n2-1", revision: 999, marked: true, gone: false }]);
  });

  test("of a former life is not held against the present one", () => {
    const { silence, run, now } = observer(3);
    run(500, ["n1", "n2"]);
    silence.seen("n2", sight(999, "an-older-life", 1), "watch", now());
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

describe("a node that is proven gone", () => {
  test("is evicted without waiting, by the first in rendezvous order, and a little later by the others", () => {
    for (const self of ["n0", "n1", "n2", "n3"]) {
      const { silence, run, now } = observer(5, self);
      run(500, ["n0", "n1", "n2", "n3", "n4"]);
      silence.gone("n4", "n4-1", now());
      const due = silence.due(now());
      expect(due.map(({ id, gone }) => ({ id, gone }))).toEqual(
        self === firstFor("n4", 5) ? [{ id: "n4", gone: true }] : [],
      );
      expect(run(500 + 2 * heartbeatMs, ["n0", "n1", "n2", "n3"])).toEqual(["n4"]);
    }
  });

  test("is evicted with most of the others, by who is left", () => {
    const { silence, run, now } = observer(4);
    run(500, ["n1", "n2", "n3"]);
    for (const id of ["n1", "n2", "n3"]) silence.gone(id, `${id}-1`, now());
    expect(
      silence
        .due(now())
        .map(({ id }) => id)
        .toSorted((a, b) => (a < b ? -1 : 1)),
    ).toEqual(["n1", "n2", "n3"]);
  });

  test("is evicted by the first of those whose own primaries have not ended", () => {
    const first = firstFor("n4", 5);
    const second = rendezvousOrder(
      "n4@1",
      ["n0", "n1", "n2", "n3"].filter((id) => id !== first),
    )[0]!;
    const { silence, run, now } = observer(5, second);
    run(500, ["n0", "n1", "n2", "n3", "n4"]);
    silence.gone("n4", "n4-1", now());
    silence.ended(first, "another-life");
    expect(silence.due(now())).toEqual([]);
    silence.ended(first, `${first}-1`);
    expect(silence.due(now()).map(({ id }) => id)).toEqual(["n4"]);
    expect(silence.leaving(now())).toBe(1);
  });

  test("leaves the view together with all who are marked", () => {
    const { silence, run, now } = observer(5);
    run(500, ["n1", "n2", "n3", "n4"]);
    silence.seen("n1", sight(100, "n1-1", 0), "watch", now());
    silence.seen("n2", sight(101, "n2-0", 0), "watch", now());
    expect([...silence.marked]).toEqual([["n1", "n1-1"]]);
    expect(silence.leaving(now())).toBe(1);
    expect(silence.leaving(now() + suspendMs)).toBe(4);
  });

  test("is not evicted while our own contact is in doubt, nor when another life of it has come", () => {
    const { silence, now } = observer(3);
    silence.gone("n1", "another-life", now());
    silence.gone("n2", "n2-1", now());
    expect(silence.due(now() + suspendMs + 1)).toEqual([]);
    silence.contact(now() + suspendMs + 2);
    expect(silence.due(now() + suspendMs + 2 + 2 * heartbeatMs).map(({ id }) => id)).toEqual(["n2"]);
  });

  test("stays when the proof does not hold for what is stored", () => {
    const { silence, run, now } = observer(3);
    silence.gone("n2", "n2-1", now());
    silence.notGone("n2");
    expect(run(2 * heartbeatMs, ["n1", "n2"])).toEqual([]);
  });
});

describe("a promise", () => {
  test("keeps a silent node for evictMs, and only the life that it was given to", () => {
    const { silence, run, now } = observer(4);
    run(2_000, ["n1", "n2"]);
    expect(silence.promise("n3", "n3-1", now())).toBe(true);
    expect(silence.promise("n3", "another-life", now())).toBe(false);
    expect(silence.promise("stranger", "s-1", now())).toBe(false);
    expect(run(2_000 + evictMs - 100, ["n1", "n2"])).toEqual([]);
    expect(run(2_000 + evictMs + 2 * heartbeatMs, ["n1", "n2"])).toEqual(["n3"]);
  });

  test("is not kept for one that is proven gone, and not given to one that is marked", () => {
    const { silence, run, now } = observer(3);
    run(500, ["n1", "n2"]);
    silence.promise("n2", "n2-1", now());
    silence.gone("n2", "n2-1", now());
    expect(run(500 + 2 * heartbeatMs, ["n1"])).toEqual(["n2"]);
    silence.seen("n1", sight(999, "n1-1", 0), "read", now());
    expect(silence.promise("n1", "n1-1", now())).toBe(false);
  });
});

describe("a node that does not know us", () => {
  test("may act on the promises of others: only the longest outage ends it", () => {
    const { silence, run } = observer(4, "n0", 0);
    expect(silence.isStranger("n2")).toBe(true);
    run(heartbeatMs, ["n1", "n2"]);
    expect(silence.isStranger("n3")).toBe(true);
    expect(silence.isStranger("n2")).toBe(false);
    expect(run(outageCapMs + evictMs - 100, ["n1", "n2"])).toEqual([]);
    expect(run(outageCapMs + evictMs + 2 * heartbeatMs, ["n1", "n2"])).toEqual(["n3"]);
  });

  test("has the usual time when nothing of it listens", () => {
    const { silence, run } = observer(4, "n0", 0);
    run(suspendMs, ["n1", "n2"]);
    silence.closed("n3");
    expect(run(evictMs + 2 * heartbeatMs, ["n1", "n2"])).toEqual(["n3"]);
  });

  test("is none who joined after us", () => {
    const { silence, now } = observer(2);
    silence.viewChanged({ ...meshOf(3), epoch: 2 }, now());
    expect(silence.isStranger("n2")).toBe(false);
  });
});

test("nobody is due within evictMs of any doubt about our own contact, nor of their own last sign", () => {
  const step = fc.record({
    waitMs: fc.integer({ min: 10, max: 900 }),
    event: fc.constantFrom("ack", "ack", "ack", "ack", "doubt", "stall", "n1", "n2", "n1", "n2"),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 120, size: "max" }),
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      (steps, random) => {
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
        for (const id of sign.keys()) silence.seen(id, sight(++revision, undefined, 1), "read", 0);
        for (const { waitMs, event } of steps) {
          now += event === "stall" ? suspendMs + waitMs : waitMs;
          if (event === "doubt") {
            silence.restart(now);
            doubtAt = now;
          } else if (event === "n1" || event === "n2") {
            silence.seen(event, sight(++revision, undefined, 1), "watch", now);
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
      },
    ),
    { numRuns: 500 },
  );
});
