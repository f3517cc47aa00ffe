// The pages of docs/: those made from the source are as it is now, links lead somewhere, and what they
// show as code compiles as a user's own application would.

import { execFile } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { apiPage } from "../../docs/make/api-page.ts";
import { configurationPage } from "../../docs/make/configuration-page.ts";
import { codeBlocks } from "./code-blocks.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
/** Starting the compiler and checking some twenty small modules, on a busy machine. */
const COMPILE_LIMIT_MS = 120_000;
const pages = ["README.md", ...globSync("docs/**/*.md", { cwd: ROOT })].sort();
const read = (page: string): string => readFileSync(path.join(ROOT, page), "utf8");

/** Inside the repository, so that "sessionmesh" is this one. */
const folder = mkdtempSync(path.join(ROOT, "test", "docs", ".code-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["docs/api.md", apiPage],
  ["docs/configuration.md", configurationPage],
])("%s is as npm run docs makes it", (page, made) => {
  expect(read(page)).toBe(made());
});

test("every name that an application may import is documented", () => {
  const undocumented = apiPage().matchAll(/^## (\w+)\n\n```/gm);
  expect([...undocumented].map(([, name]) => name)).toEqual([]);
});

describe.each(pages)("%s", (page) => {
  test("has links that lead somewhere", () => {
    const broken = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = ""]) => target)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [file = "", anchor] = target.split("#");
        const linked = file === "" ? page : path.join(path.dirname(page), file);
        if (!existsSync(path.join(ROOT, linked))) return true;
        return anchor !== undefined && linked.endsWith(".md") && !anchorsOf(read(linked)).has(anchor);
      });
    expect(broken).toEqual([]);
  });
});

function anchorsOf(text: string): ReadonlySet<string> {
  const headings = text.replaceAll(/^```[^]*?^```/gm, "").matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

test("the code on the pages compiles under strict", { timeout: COMPILE_LIMIT_MS }, async () => {
  const blocks = pages.flatMap((page) => codeBlocks(page, read(page)));
  expect(blocks).not.toEqual([]);
  for (const { file, code } of blocks) writeFileSync(path.join(folder, file), code);
  const config = {
    extends: "../../../tsconfig.json",
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, noImplicitOverride: false },
    include: ["*.ts"],
  };
  writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(config));
  const tsc = path.join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = await promisify(execFile)(process.execPath, [tsc, "-p", folder]).catch(
    (failed: { stdout: string }) => failed,
  );
  expect(stdout).toBe("");
});
