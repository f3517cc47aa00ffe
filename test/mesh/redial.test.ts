// When a NATS server is dialed again, by a clock of the test, and that a real client comes back although its date was set back.

import { expect, onTestFinished, test, vi } from "vitest";
import { connectNats } from "../../mesh/nats/link.ts";
import { Redial } from "../../mesh/nats/redial.ts";
import { startNats } from "../infra/nats-server.ts";

const HOUR_MS = 3_600_000;
/** A few pauses between dials. */
const SOON_MS = 4_000;

test("a server is dialed at once, and not again before the pause is over", () => {
  const { dial, pass } = pool();
  expect(dial("a")).toBe(0);
  expect(dial("a")).toBe(375);
  pass(375 + 375);
  expect(dial("a")).toBe(0);
  pass(375 - 100);
  expect(dial("a")).toBe(100);
});

test("each server has a pause of its own, and one that is gone none", () => {
  const { dial } = pool();
  expect([dial("a", "b"), dial("b", "a")]).toEqual([0, 0]);
  expect(dial("b")).toBe(375);
  expect(dial("a", "b")).toBe(0);
});

test("a client is back within seconds although its date was set back by an hour", async () => {
  const server = await startNats();
  onTestFinished(() => server.remove());
  const link = await connectNats(server.url, { name: "test" });
  onTestFinished(() => link.close());
  const back = new Promise<void>((resolve) => link.onStatus((status) => status === "reconnected" && resolve()));
  const now = Date.now.bind(Date);
  vi.spyOn(Date, "now").mockImplementation(() => now() - HOUR_MS);
  onTestFinished(() => void vi.restoreAllMocks());
  await server.kill();
  const again = await startNats({ port: server.port, storeDir: server.storeDir });
  onTestFinished(() => again.kill());
  const late = new Promise<string>((resolve) => setTimeout(() => resolve("late"), SOON_MS).unref());
  expect(await Promise.race([back.then(() => "back"), late])).toBe("back");
});

/** Asks for the delay before the first of the servers. */
function pool() {
  let nowMs = 1_000;
  const redial = new Redial({ now: () => nowMs, draw: () => 0.5 });
  return {
    pass: (ms: number): void => void (nowMs += ms),
    dial: (first: string, ...others: string[]): number => redial.delay(first, [first, ...others]),
  };
}
