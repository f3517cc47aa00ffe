// What is frozen stays so, in the test runner too: a child process does it.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";

interface Report {
  readonly edits: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  readonly sloppy: string;
  readonly polyfill: string;
  readonly text: string;
  readonly stacks: readonly string[];
  readonly arrays: { readonly openNames: readonly string[]; readonly isSealed: boolean };
  readonly slow: readonly string[];
  readonly tookMs: number;
}

let report: Report;
beforeAll(async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/frozen-globals.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", "--allow-natives-syntax", fixture]);
  report = JSON.parse(stdout) as Report;
});

test("built-in objects and globals refuse every edit with a TypeError", () => {
  expect(Object.keys(report.edits).length).toBeGreaterThan(90);
  expect(Object.entries(report.edits).filter(([, outcome]) => outcome !== "TypeError")).toEqual([]);
});

test("the prototype of arrays is sealed, and open only where V8 would give up its fast paths", () => {
  expect(report.arrays).toEqual({ openNames: ["length", "constructor", "Symbol(Symbol.iterator)"], isSealed: true });
});

test("what was edited is no dictionary for V8 afterwards", () => {
  expect(report.slow).toEqual([]);
});

test("in sloppy code an assignment to a global is without effect", () => {
  expect(report.sloppy).toBe("functionfunction");
});

test("what code sets on its own objects is not in the way of what they inherit", () => {
  expect(Object.entries(report.own).filter(([, outcome]) => outcome !== "done")).toEqual([]);
});

test("polyfills that were there before stay", () => {
  expect(report.polyfill).toBe("polyfill");
});

test("objects print as before", () => {
  expect(report.text).toBe("again [object Object] { a: Map(1) { 1 => 'e' } }");
});

test("each session prepares its own stacks", () => {
  expect(report.stacks).toEqual(["of the first", "Error: x", "Error: x"]);
});
