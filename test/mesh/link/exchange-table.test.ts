import fc from "fast-check";
import { expect, test } from "vitest";
import { ExchangeTable } from "../../../mesh/link/exchange-table.ts";

test("does what a Map does, whatever comes and goes", () => {
  const step = fc.record({ add: fc.boolean(), stream: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.nat(0xffff_fffe)) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
      const table = new ExchangeTable<object>();
      const model = new Map<number, object>();
      for (const { add, stream: from } of steps) {
        const stream = from + 1;
        const value = { stream };
        if (add) {
          table.set(stream, value);
          model.set(stream, value);
        } else {
          table.delete(stream);
          model.delete(stream);
        }
        expect(table.get(stream)).toBe(model.get(stream));
      }
      expect(table.size).toBe(model.size);
      for (const [stream, value] of model) expect(table.get(stream)).toBe(value);
      expect(table.drain()).toEqual([...model].toSorted(([a], [b]) => a - b));
      expect([table.size, table.drain()]).toEqual([0, []]);
    }),
  );
});

test("streams that stay do not slow down those that come and go beside them", () => {
  const table = new ExchangeTable<object>();
  const value = {};
  for (let stream = 1; stream <= 100_000; stream++) table.set(stream, value);
  const start = performance.now();
  for (let stream = 100_001; stream <= 600_000; stream++) {
    table.set(stream, value);
    table.delete(stream);
  }
  expect(table.size).toBe(100_000);
  // Some 50 ms. With a walk past all that stay it would be minutes.
  expect(performance.now() - start).toBeLessThan(5_000);
});

test("the link's own number finds nothing", () => {
  const table = new ExchangeTable<object>();
  table.set(1, {});
  table.delete(0);
  expect([table.get(0), table.size]).toEqual([undefined, 1]);
});
