import { afterEach, expect, test, vi } from "vitest";
import { onSignal, watchForEnding } from "../../cli/launch/ending.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const before = SIGNALS.map((signal) => process.listenerCount(signal));

afterEach(() => {
  vi.useRealTimers();
  process.removeAllListeners("SIGUSR2");
  // The runner has listeners of its own; what a test added stands behind them.
  SIGNALS.forEach((signal, at) => {
    for (const listener of process.rawListeners(signal).slice(before[at])) {
      process.off(signal, listener as NodeJS.SignalsListener);
    }
  });
});

test("a copy of a signal in the same moment counts once, a later one again", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  let count = 0;
  onSignal("SIGUSR2", () => (count += 1));
  process.emit("SIGUSR2");
  process.emit("SIGUSR2");
  expect(count).toBe(1);
  vi.advanceTimersByTime(500);
  process.emit("SIGUSR2");
  expect(count).toBe(2);
});

test("the first signal asks, another one insists", async () => {
  const ending = watchForEnding();
  let insisted = false;
  void ending.insisted.then(() => (insisted = true));
  expect(ending.isAsked()).toBe(false);
  process.emit("SIGINT");
  process.emit("SIGINT");
  await ending.asked;
  expect(ending.isAsked()).toBe(true);
  expect(insisted).toBe(false);
  process.emit("SIGTERM");
  await ending.insisted;
});
