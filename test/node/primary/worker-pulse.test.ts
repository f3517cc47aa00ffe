import { expect, test } from "vitest";
import { WorkerPulse } from "../../../node/primary/worker-pulse.ts";
import { fakeClock } from "../../infra/fake-clock.ts";

function start(turnBudgetMs: number) {
  const clock = fakeClock();
  let stoppedMs = 0;
  const silent: { index: number; silentMs: number }[] = [];
  const pulse = new WorkerPulse(turnBudgetMs, (index, silentMs) => silent.push({ index, silentMs }), {
    now: () => clock.now() + stoppedMs,
    timer: (ms, fn) => clock.timer(ms, fn),
  });
  const stopFor = (ms: number): void => void (stoppedMs += ms);
  return { clock, silent, pulse, stopFor };
}

test("a worker that says nothing for the turn budget and three seconds is reported once", async () => {
  const { clock, silent, pulse } = start(1_000);
  pulse.heard(0);
  pulse.heard(1);
  for (let at = 0; at < 20; at++) {
    await clock.advance(500);
    pulse.heard(1);
  }
  expect(silent).toEqual([{ index: 0, silentMs: 4_250 }]);
});

test("a worker that was never heard, or has gone, is not missed", async () => {
  const { clock, silent, pulse } = start(1_000);
  pulse.heard(0);
  pulse.forget(0);
  await clock.advance(60_000);
  expect(silent).toEqual([]);
});

test("silence does not count while the primary itself was stopped", async () => {
  const { clock, silent, pulse, stopFor } = start(1_000);
  pulse.heard(0);
  await clock.advance(3_900);
  stopFor(60_000);
  await clock.advance(3_900);
  expect(silent).toEqual([]);
  await clock.advance(500);
  expect(silent).toHaveLength(1);
});
