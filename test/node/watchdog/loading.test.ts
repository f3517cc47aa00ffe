import { expect, test } from "vitest";
import type { Frame } from "../../../node/watchdog/inspector.ts";
import { getsOn, loadingOf } from "../../../node/watchdog/loading.ts";

const frame = (url: string, functionName = ""): Frame => ({ url, functionName, line: 1, column: 1 });
const handler = frame("file:///app/app.js", "fetch");
const loader = frame("node:internal/modules/cjs/loader", "wrapModuleLoad");
const job = frame("node:internal/modules/esm/module_job", "run");
const [a, b] = [frame("file:///app/node_modules/a/index.js"), frame("file:///app/b.js")];

test("a turn loads when Node's loader is on its stack, and the module is what the loader called last", () => {
  expect(loadingOf([handler], 1)).toBe(undefined);
  expect(loadingOf([frame("node:fs", "readFileSync"), loader, handler], 1)).toEqual({ module: undefined, modules: 1 });
  expect(loadingOf([a, job], 1)?.module).toBe(a.url);
  expect(loadingOf([frame("file:///app/c.js", "helper"), b, loader, a, loader, handler], 1)?.module).toBe(b.url);
  expect(loadingOf([frame("node:path", "join"), b, loader, handler], 1)?.module).toBe(b.url);
});

test("it gets on while Node works, or other modules come; one module is given one budget", () => {
  const node = { module: undefined, modules: 5 };
  const inA = { module: "a", modules: 5 };
  expect(getsOn(undefined, inA)).toBe(true);
  expect(getsOn(node, node)).toBe(true);
  expect(getsOn(inA, { module: "b", modules: 5 })).toBe(true);
  expect(getsOn(inA, { module: "a", modules: 6 })).toBe(true);
  expect(getsOn(inA, inA)).toBe(false);
});
