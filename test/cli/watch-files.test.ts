import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FileWatch } from "../../cli/watch-files.ts";

let folder = "";
let changes: string[][] = [];
let watch: FileWatch;

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  mkdirSync(at("src/deep"), { recursive: true });
  for (const file of ["app.ts", "src/a.ts", "src/deep/b.ts"]) write(file, "1");
  changes = [];
  watch = new FileWatch((files) => changes.push(files.map((file) => path.relative(folder, file))));
  for (const file of ["app.ts", "src/a.ts", "src/deep/b.ts"]) watch.add(at(file));
});
afterEach(() => {
  watch.close();
  rmSync(folder, { recursive: true, force: true });
});

function at(file: string): string {
  return path.join(folder, file);
}

function write(file: string, source = "2"): void {
  writeFileSync(at(file), source);
}

test("a file written in place is one change", async () => {
  write("app.ts");
  write("app.ts", "3");
  await expect.poll(() => changes).toEqual([["app.ts"]]);
});

test("files saved together are one change", async () => {
  for (const file of ["app.ts", "src/a.ts", "src/deep/b.ts"]) write(file);
  await expect.poll(() => changes).toEqual([["app.ts", "src/a.ts", "src/deep/b.ts"]]);
});

test("a file renamed into place is seen, again and again", async () => {
  for (const round of [1, 2]) {
    write(".app.ts.new", String(round));
    renameSync(at(".app.ts.new"), at("app.ts"));
    await expect.poll(() => changes).toHaveLength(round);
  }
  expect(changes).toEqual([["app.ts"], ["app.ts"]]);
});

test("what else is written beside the files is no change", async () => {
  for (const file of ["app.log", "app.ts~", ".app.ts.swp", "src/data.sqlite", "src/deep/new.ts"]) {
    write(file);
    appendFileSync(at(file), "more");
  }
  write("app.ts");
  await expect.poll(() => changes).toEqual([["app.ts"]]);
});

test("a folder that goes and comes back is still watched", async () => {
  rmSync(at("src"), { recursive: true });
  await expect.poll(() => changes.flat()).toContain("src/deep/b.ts");
  changes = [];
  mkdirSync(at("src/deep"), { recursive: true });
  write("src/deep/b.ts");
  await expect.poll(() => changes.flat()).toEqual(["src/deep/b.ts"]);
  changes = [];
  write("src/deep/b.ts", "3");
  await expect.poll(() => changes).toEqual([["src/deep/b.ts"]]);
});

test("a file that is not there yet is seen when it comes, through folders that are not there either", async () => {
  watch.add(at("lib/x/late.ts"));
  mkdirSync(at("lib"));
  mkdirSync(at("lib/x"));
  write("lib/x/late.ts");
  await expect.poll(() => changes).toEqual([["lib/x/late.ts"]]);
});

test("a file that was written after it was read has changed", async () => {
  watch.add(at("src/a.ts"), Date.now() + 60_000);
  watch.add(at("app.ts"), Date.now() - 60_000);
  await expect.poll(() => changes).toEqual([["app.ts"]]);
});

test("a file that is not kept is nobody's business any more", async () => {
  watch.keep(new Set([at("app.ts")]));
  write("src/a.ts");
  write("src/deep/b.ts");
  write("app.ts");
  await expect.poll(() => changes).toEqual([["app.ts"]]);
});

test("the first folder that cannot be watched is told, once", () => {
  const blind: string[] = [];
  const other = new FileWatch(
    () => {},
    (where) => blind.push(where),
    2,
  );
  for (const file of ["app.ts", "src/a.ts", "src/deep/b.ts", "lib/c.ts", "src/deep/c.ts"]) other.add(at(file));
  other.close();
  expect(blind).toEqual([at("src/deep")]);
});
