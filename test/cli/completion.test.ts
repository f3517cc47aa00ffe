import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";
import { expect, test } from "vitest";

const MESH = path.join(import.meta.dirname, "..", "..", "cli", "mesh.ts");
const script = execFileSync(process.execPath, [MESH, "completion", "bash"], { encoding: "utf8" });

/** What bash offers for the last of the words. */
function complete(...words: string[]): string[] {
  const list = words.map((word) => `'${word}'`).join(" ");
  const source = `${script}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}; _mesh_complete; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return spawnSync("bash", ["-c", source], { encoding: "utf8" }).stdout.trim().split("\n");
}

test("commands, then their sub-commands, then options are completed", () => {
  expect(complete("mesh", "u")).toEqual(["up"]);
  expect(complete("mesh", "session", "")).toEqual(["list", "get", "count", "--help"]);
  expect(complete("mesh", "session", "list", "--li")).toEqual(["--limit"]);
  expect(complete("mesh", "up", "app.ts", "--admin")).toEqual(["--admin-port"]);
});

test("what is hidden from --help is not offered", () => {
  expect(complete("mesh", "node", "--in")).toEqual([""]);
});

test.for(["zsh", "fish"])("there is a script for %s", (shell) => {
  const output = execFileSync(process.execPath, [MESH, "completion", shell], { encoding: "utf8" });
  expect(output).toContain("session");
  expect(output).toContain("admin-port");
});
