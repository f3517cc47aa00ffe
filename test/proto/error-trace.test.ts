import { expect, test } from "vitest";
import { traceOf } from "#proto";

test("a trace names every cause and every error of an AggregateError", () => {
  const refused = Object.assign(new Error("connect failed"), { code: "ECONNREFUSED" });
  const all = new AggregateError([refused, new RangeError("other")], "all addresses failed");
  const trace = traceOf(new TypeError("fetch failed", { cause: all }));
  const heads = trace.split("\n").filter((line) => !/^ +at /.test(line));
  expect(heads).toEqual([
    "TypeError: fetch failed",
    "  [cause]: AggregateError: all addresses failed",
    "    [errors][0]: Error: connect failed",
    "        code: ECONNREFUSED",
    "    [errors][1]: RangeError: other",
  ]);
});

test("a cause that is no error is shown as text", () => {
  expect(traceOf(new Error("e", { cause: "why" }))).toMatch(/\n {2}\[cause\]: why$/);
});

test("circles and floods of errors come to an end", () => {
  const first = new Error("first");
  first.cause = new Error("second", { cause: first });
  expect(traceOf(first)).toMatch(/\[cause\]: \[shown above\]$/);
  const flood = Array.from({ length: 1_000 }, () => new Error("x".repeat(1_000)));
  expect(traceOf(new AggregateError(flood)).length).toBeLessThan(17_000);
});

test("whatever was thrown has a trace, also when its getters throw", () => {
  const liar = Object.defineProperty(new Error("m"), "cause", {
    get() {
      throw new Error("no");
    },
  });
  expect(traceOf(liar)).toMatch(/^Error: m/);
  const stackless = Object.assign(new Error("only a message"), { stack: undefined });
  expect(traceOf(stackless)).toBe("only a message");
  expect([null, 1, {}].map(traceOf)).toEqual(["null", "1", "[object Object]"]);
});
