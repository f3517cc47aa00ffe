import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { registryPlace } from "../../cli/registry/where.ts";
import { readUpFile, removeUpFile, writeUpFile } from "../../cli/up-file.ts";

let folder = "";
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const ours = { pid: process.pid, mesh: "shop", nats: "nats://127.0.0.1:40001" };

/** Of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ["--version"]).pid;
}

test("what was written is read while its launcher lives", () => {
  writeUpFile(folder, ours);
  expect(readUpFile(folder)).toEqual(ours);
  expect(readdirSync(path.join(folder, ".mesh"))).toEqual(["up.json"]);
});

test("the file of a dead launcher counts as absent", () => {
  writeUpFile(folder, { ...ours, pid: deadPid() });
  expect(readUpFile(folder)).toBeUndefined();
});

test("no file, half a file or another file is no mesh", () => {
  expect(readUpFile(folder)).toBeUndefined();
  writeUpFile(folder, ours);
  writeFileSync(path.join(folder, ".mesh", "up.json"), '{"pid": 1, "me');
  expect(readUpFile(folder)).toBeUndefined();
  writeFileSync(path.join(folder, ".mesh", "up.json"), '{"pid": "1"}');
  expect(readUpFile(folder)).toBeUndefined();
});

test("a launcher removes its own file and leaves that of a later one", () => {
  writeUpFile(folder, ours);
  removeUpFile(folder, ours.pid + 1);
  expect(readUpFile(folder)).toEqual(ours);
  removeUpFile(folder, ours.pid);
  expect(readUpFile(folder)).toBeUndefined();
});

test("a query goes where the user says, then to the mesh of the folder, then to the local default", () => {
  expect(registryPlace({}, folder)).toEqual({ mesh: "mesh", nats: "nats://127.0.0.1:4222" });
  writeUpFile(folder, ours);
  expect(registryPlace({}, folder)).toEqual({ mesh: "shop", nats: "nats://127.0.0.1:40001" });
  expect(registryPlace({ mesh: "other" }, folder)).toEqual({ mesh: "other", nats: "nats://127.0.0.1:40001" });
  expect(registryPlace({ nats: "nats://far:4222" }, folder)).toEqual({ mesh: "mesh", nats: "nats://far:4222" });
});
