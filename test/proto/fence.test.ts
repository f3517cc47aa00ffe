import fc from "fast-check";
import { expect, test } from "vitest";
import { compareFences, formatFence } from "#proto";

const fences = fc.record({ epoch: fc.nat(3), claim: fc.nat(3) });

test("fences are in one order: first by epoch, then by claim", () => {
  expect(compareFences({ epoch: 2, claim: 1 }, { epoch: 1, claim: 9 })).toBeGreaterThan(0);
  expect(compareFences({ epoch: 2, claim: 1 }, { epoch: 2, claim: 2 })).toBeLessThan(0);
  fc.assert(
    fc.property(fences, fences, fences, (a, b, c) => {
      expect(Math.sign(compareFences(a, b))).toBe(0 - Math.sign(compareFences(b, a)));
      expect(compareFences(a, b) === 0).toBe(formatFence(a) === formatFence(b));
      if (compareFences(a, b) <= 0 && compareFences(b, c) <= 0) expect(compareFences(a, c)).toBeLessThanOrEqual(0);
    }),
  );
});
