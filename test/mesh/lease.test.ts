// The own lease against a registry that does what it likes with each heartbeat.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OwnLease, type FoundLease, type LeaseEffect } from "../../mesh/lease.ts";
import type { Lease } from "#proto";

const suspendMs = 2_000;

function lease(revision = 0): OwnLease {
  return new OwnLease({ incarnation: "me", suspendMs, revision });
}

/** A lease that was acknowledged once: sent at 0, revision 1. */
function live(): OwnLease {
  const own = lease();
  const first = own.beat(0, [])!;
  expect(own.acknowledged(first.lease.beat, 1, 10)).toEqual([{ type: "deadline", deadline: suspendMs }]);
  return own;
}

const types = (effects: readonly LeaseEffect[]): string[] => effects.map((effect) => effect.type);
const other = (state: "live" | "evicted"): Lease =>
  state === "live"
    ? { state, incarnation: "other", beat: 1, epoch: 0, view: "", opId: "x", load: [] }
    : { state, incarnation: "other", by: "n9", opId: "x" };

describe("the deadline", () => {
  test("counts from when the heartbeat was sent, not from its answer", () => {
    const own = live();
    const next = own.beat(500, [])!;
    expect(own.acknowledged(next.lease.beat, 2, 1_400)).toEqual([{ type: "deadline", deadline: 2_500 }]);
  });

  test("does not move for a heartbeat whose answer came after it had passed", () => {
    const own = live();
    const next = own.beat(500, [])!;
    expect(types(own.acknowledged(next.lease.beat, 2, 9_000))).toEqual(["suspended"]);
    expect(own.deadline).toBe(suspendMs);
  });

  test("passes into a suspension that is reported once", () => {
    const own = live();
    expect(own.tick(suspendMs - 1)).toEqual([]);
    expect(types(own.tick(suspendMs))).toEqual(["suspended"]);
    expect(own.tick(suspendMs + 1)).toEqual([]);
  });
});

describe("a suspended lease", () => {
  const suspended = (): OwnLease => {
    const own = live();
    own.tick(5_000);
    return own;
  };

  test("resumes only when the view has confirmed the acknowledgement, and in time", () => {
    const own = suspended();
    const next = own.beat(5_000, [])!;
    expect(own.acknowledged(next.lease.beat, 2, 5_010)).toEqual([{ type: "confirm", until: 7_000 }]);
    expect(own.isLive(5_010)).toBe(false);
    expect(own.confirmed(7_000, 7_000)).toEqual([]);
    expect(types(own.confirmed(7_000, 5_020))).toEqual(["resumed", "deadline"]);
    expect(own.isLive(6_999)).toBe(true);
  });
});

describe("the promises of all others", () => {
  test("move a deadline that has not passed, to when they were asked plus suspendMs, and never back", () => {
    const own = live();
    expect(own.extended(1_000, 1_200)).toEqual([{ type: "deadline", deadline: 3_000 }]);
    expect(own.extended(900, 1_300)).toEqual([]);
    expect(own.deadline).toBe(3_000);
    expect(own.acknowledgedAt).toBe(0);
  });

  test("end a suspension only when nobody is missing, while what they give has not passed itself", () => {
    const own = live();
    expect(types(own.revived(1_900, suspendMs))).toEqual(["suspended", "resumed", "deadline"]);
    expect(own.deadline).toBe(3_900);
    expect(types(own.revived(1_950, 3_960))).toEqual(["suspended"]);
    expect(own.isLive(3_960)).toBe(false);
    expect(types(own.revived(4_000, 4_100))).toEqual(["resumed", "deadline"]);
    own.fence("told so");
    expect(own.revived(4_200, 4_300)).toEqual([]);
  });

  test("of those who are left revive no lease that has run out, and none that is fenced", () => {
    const own = live();
    expect(types(own.extended(1_900, suspendMs))).toEqual(["suspended"]);
    expect(own.extended(2_100, 2_200)).toEqual([]);
    expect(own.isLive(2_200)).toBe(false);
    const ended = live();
    ended.fence("told so");
    expect(ended.extended(100, 200)).toEqual([]);
  });
});

describe("a conflict", () => {
  test("with an unanswered heartbeat of our own that had landed renews the lease from its send time", () => {
    const own = live();
    const lost = own.beat(500, [])!;
    const next = own.beat(1_000, [])!;
    expect(next.revision).toBe(1);
    expect(own.conflicted({ revision: 2, lease: lost.lease }, 1_010)).toEqual([{ type: "deadline", deadline: 2_500 }]);
    expect(own.beat(1_020, [])?.revision).toBe(2);
  });

  test("with our eviction is the end", () => {
    const own = live();
    own.beat(500, []);
    const mark: Lease = { state: "evicted", incarnation: "me", by: "n2", opId: "x" };
    expect(types(own.conflicted({ revision: 2, lease: mark }, 510))).toEqual(["fenced"]);
    expect(own.beat(1_000, [])).toBeUndefined();
    expect(own.isLive(520)).toBe(false);
  });

  test("with the eviction of an earlier life is taken over", () => {
    const own = lease(3);
    own.beat(0, []);
    expect(own.conflicted({ revision: 5, lease: other("evicted") }, 10)).toEqual([]);
    expect(own.beat(20, [])?.revision).toBe(5);
  });

  test("with a newer lease of another process is the end", () => {
    expect(types(live().conflicted({ revision: 9, lease: other("live") }, 10))).toEqual(["fenced"]);
    expect(types(lease().conflicted({ revision: 1, lease: other("live") }, 10))).toEqual(["fenced"]);
  });

  test("with an older lease than was acknowledged to us is the registry going back, and is overwritten", () => {
    const own = lease(7);
    own.acknowledged(own.beat(0, [])!.lease.beat, 8, 10);
    expect(own.conflicted({ revision: 4, lease: other("live") }, 20)).toEqual([]);
    expect(own.beat(30, [])?.revision).toBe(4);
  });

  test("with a key that is gone creates it again", () => {
    const own = live();
    expect(own.conflicted(undefined, 10)).toEqual([]);
    expect(own.beat(20, [])?.revision).toBe(0);
  });
});

test("whatever the registry does, no deadline lies beyond the send time of a heartbeat that it holds, plus suspendMs", () => {
  const step = fc.record({
    waitMs: fc.nat(1_500),
    answerMs: fc.nat(1_500),
    fate: fc.constantFrom("written", "written", "lost", "silent", "late"),
    confirm: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const own = lease();
      let now = 0;
      let revision = 0;
      let key: FoundLease;
      let late: { revision: number; lease: Lease } | undefined;
      let newestHeld = Number.NEGATIVE_INFINITY;
      let deadline = Number.NEGATIVE_INFINITY;
      let until: number | undefined;
      const sentAt = new Map<string, number>();
      const put = (expected: number, value: Lease): boolean => {
        if ((key?.revision ?? 0) !== expected) return false;
        key = { revision: ++revision, lease: value };
        newestHeld = Math.max(newestHeld, sentAt.get(value.opId) ?? Number.NEGATIVE_INFINITY);
        return true;
      };
      const take = (effects: readonly LeaseEffect[]): void => {
        for (const effect of effects) {
          if (effect.type === "confirm") until = effect.until;
          if (effect.type !== "deadline") continue;
          expect(effect.deadline).toBeGreaterThanOrEqual(deadline);
          expect(effect.deadline).toBeLessThanOrEqual(newestHeld + suspendMs);
          deadline = effect.deadline;
        }
      };
      for (const { waitMs, answerMs, fate, confirm } of steps) {
        now += waitMs;
        take(own.tick(now));
        const next = own.beat(now, [])!;
        sentAt.set(next.lease.opId, now);
        const landed = fate === "lost" || fate === "late" ? false : put(next.revision, next.lease);
        now += answerMs;
        if (late !== undefined) put(late.revision, late.lease);
        late = fate === "late" ? { revision: next.revision, lease: next.lease } : undefined;
        if (fate === "written" && landed) take(own.acknowledged(next.lease.beat, key!.revision, now));
        else if (fate === "written") take(own.conflicted(key, now));
        if (confirm && until !== undefined) take(own.confirmed(until, now));
        expect(own.fenced).toBe(false);
        if (own.isLive(now)) expect(now).toBeLessThan(own.deadline);
        if (own.deadline !== Number.NEGATIVE_INFINITY) expect(own.deadline).toBeLessThanOrEqual(newestHeld + suspendMs);
      }
    }),
    { numRuns: 300 },
  );
});
