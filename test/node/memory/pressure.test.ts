import { expect, test } from "vitest";
import { Pressure } from "../../../node/memory/pressure.ts";

function pressure(): Pressure {
  return new Pressure({ markBytes: 100, patienceMs: 1_000 });
}

test("garbage above the mark is a reason to look, and nothing else", () => {
  const one = pressure();
  one.used(99);
  expect(one.level).toBe("calm");
  one.used(500);
  expect(one.level).toBe("watch");
  one.collected(99, 0);
  expect(one.level).toBe("watch");
  expect(one.overdue(1e9)).toBe(false);
  one.used(89);
  expect(one.level).toBe("calm");
});

test("a worker is full by what a collection leaves, until it leaves clearly less", () => {
  const one = pressure();
  one.used(150);
  one.collected(100, 0);
  expect(one.level).toBe("full");
  one.collected(90, 10);
  expect(one.level).toBe("full");
  one.collected(89, 20);
  expect(one.level).toBe("calm");
});

test("patience counts from when the worker was full first, and anew after a calm", () => {
  const one = pressure();
  one.collected(100, 5);
  one.collected(120, 800);
  expect(one.overdue(1_004)).toBe(false);
  expect(one.overdue(1_005)).toBe(true);
  one.used(10);
  expect(one.overdue(2_000)).toBe(false);
  one.collected(100, 3_000);
  expect(one.overdue(3_999)).toBe(false);
});
