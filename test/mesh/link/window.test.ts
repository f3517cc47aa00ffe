import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CREDIT_STEP_BYTES, ReceiveWindow, SendWindow, WINDOW_BYTES } from "../../../mesh/link/window.ts";

/** A sender and a receiver with frames and credits under way between them, driven by steps in any order. */
function drive(steps: readonly { readonly do: "send" | "arrive" | "consume" | "credit"; readonly bytes: number }[]) {
  const sender = new SendWindow();
  const receiver = new ReceiveWindow();
  const frames: number[] = [];
  const credits: number[] = [];
  let arrived = 0;
  for (const step of steps) {
    if (step.do === "send" && sender.open) {
      sender.sent(step.bytes);
      frames.push(step.bytes);
    } else if (step.do === "arrive" && frames.length > 0) {
      const bytes = frames.shift() ?? 0;
      receiver.received(bytes);
      arrived += bytes;
    } else if (step.do === "consume" && arrived > 0) {
      const taken = Math.min(step.bytes, arrived);
      arrived -= taken;
      const credit = receiver.consumed(taken);
      if (credit > 0) credits.push(credit);
    } else if (step.do === "credit" && credits.length > 0) sender.credited(credits.shift() ?? 0);
    const underWay = frames.reduce((sum, bytes) => sum + bytes, 0);
    expect(receiver.unconsumed).toBe(arrived);
    expect(arrived + underWay).toBeLessThanOrEqual(sender.outstanding);
    expect(sender.outstanding).toBeLessThan(WINDOW_BYTES + 64 * 1024);
  }
  return { sender, receiver, frames, credits, arrived };
}

const step = fc.record({
  do: fc.constantFrom("send" as const, "arrive" as const, "consume" as const, "credit" as const),
  bytes: fc.integer({ min: 1, max: 64 * 1024 }),
});

describe("windows", () => {
  test("a sender that keeps to its window is never refused, whatever the order of frames and credits", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => void drive(steps)));
  });

  test("once everything has arrived and was consumed, the sender may send again", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
        const { sender, receiver, frames, credits, arrived } = drive(steps);
        for (const bytes of frames) receiver.received(bytes);
        credits.push(receiver.consumed(arrived + frames.reduce((sum, bytes) => sum + bytes, 0)));
        for (const credit of credits) sender.credited(credit);
        expect(sender.open).toBe(true);
        expect(sender.outstanding).toBeLessThan(CREDIT_STEP_BYTES);
        sender.credited(receiver.settle());
        expect(sender.outstanding).toBe(0);
      }),
    );
  });

  test("a frame into a shut window is refused", () => {
    const receiver = new ReceiveWindow();
    receiver.received(WINDOW_BYTES - 1);
    receiver.received(64 * 1024);
    expect(() => receiver.received(1)).toThrow(expect.objectContaining({ code: "bad_frame" }));
  });

  test("credit for bytes that were never sent is refused", () => {
    const sender = new SendWindow();
    sender.sent(10);
    expect(() => sender.credited(11)).toThrow(expect.objectContaining({ code: "bad_frame" }));
  });
});
