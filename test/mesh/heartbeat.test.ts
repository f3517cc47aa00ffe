// The one thing about heartbeats that the tests of memberships cannot show: revisions that a registry gives away twice.

import { expect, test } from "vitest";
import { encodeLease, type Lease } from "#proto";
import { Heartbeat } from "../../mesh/heartbeat.ts";
import { OwnLease, type LeaseEffect } from "../../mesh/lease.ts";
import { fakeClock } from "../infra/fake-clock.ts";

test("a lease that was suspended is read before it is written, for its revision may be that of a mark by now", async () => {
  const clock = fakeClock();
  const lease = new OwnLease({ incarnation: "me", suspendMs: 2_000, revision: 0 });
  const effects: LeaseEffect[] = [];
  const mark: Lease = { state: "evicted", incarnation: "me", by: "n2", opId: "x" };
  let writes = 0;
  const heartbeat = new Heartbeat({
    clock,
    log: () => {},
    lease,
    key: "lease.n1",
    heartbeatMs: 500,
    seen: () => ({ epoch: 1, view: "v" }),
    load: () => [],
    onEffects: (more) => effects.push(...more),
    onOutcome: () => {},
    kv: {
      get: async (key) => ({ key, value: encodeLease(mark), revision: 7 }),
      create: async () => ({ status: "written", revision: 7 }),
      update: async () => {
        writes++;
        return { status: "written", revision: 8 };
      },
      remove: async () => ({ status: "unknown" }),
    },
  });
  heartbeat.now();
  await clock.advance(2_500);
  expect(writes).toBe(0);
  heartbeat.now();
  await clock.advance(0);
  expect(effects.map(({ type }) => type)).toEqual(["deadline", "suspended", "fenced"]);
  expect(writes).toBe(0);
  await heartbeat.stop();
});
