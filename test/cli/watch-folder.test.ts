import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { watchFolder } from "../../cli/watch-folder.ts";

let folder = "";
let changes: string[] = [];
let unwatch = (): void => {};

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  for (const dir of ["src/deep", "node_modules/x", ".git"]) mkdirSync(path.join(folder, dir), { recursive: true });
  writeFileSync(path.join(folder, "app.ts"), "1");
  changes = [];
  unwatch = watchFolder(folder, (file) => changes.push(file));
});
afterEach(() => {
  unwatch();
  rmSync(folder, { recursive: true, force: true });
});

function write(file: string, source = "2"): void {
  writeFileSync(path.join(folder, file), source);
}

test("a file written in place is one change", async () => {
  write("app.ts");
  write("app.ts", "3");
  await expect.poll(() => changes).toEqual(["app.ts"]);
});

test("a file renamed into place is seen, again and again", async () => {
  for (const round of [1, 2]) {
    writeFileSync(path.join(folder, ".app.ts.new"), String(round));
    renameSync(path.join(folder, ".app.ts.new"), path.join(folder, "app.ts"));
    await expect.poll(() => changes).toHaveLength(round);
  }
  expect(changes).toEqual(["app.ts", "app.ts"]);
});

test("folders below are watched, those that are made later too", async () => {
  write("src/deep/a.ts");
  await expect.poll(() => changes).toEqual([path.join("src", "deep", "a.ts")]);
  mkdirSync(path.join(folder, "src/late"));
  await expect.poll(() => changes).toHaveLength(2);
  write("src/late/b.ts");
  await expect.poll(() => changes.at(-1)).toBe(path.join("src", "late", "b.ts"));
});

test("a folder that goes and comes back is still watched", async () => {
  rmSync(path.join(folder, "src"), { recursive: true });
  await expect.poll(() => changes).toHaveLength(1);
  mkdirSync(path.join(folder, "src"));
  await expect.poll(() => changes).toHaveLength(2);
  write("src/c.ts");
  await expect.poll(() => changes.at(-1)).toBe(path.join("src", "c.ts"));
});

test("dependencies, version control and editors' own files are no change", async () => {
  write("node_modules/x/index.js");
  write(".git/HEAD");
  write("app.ts~");
  write(".app.ts.swp");
  write("app.ts");
  await expect.poll(() => changes).toEqual(["app.ts"]);
});
