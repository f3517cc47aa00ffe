// `mesh dev`: a change in the folder starts the node again; an application that does not load waits for the next change.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterEach, expect, test } from "vitest";
import { killMarked, marked, markedEnv } from "./processes.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
const mark = randomUUID();
const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
afterEach(() => {
  killMarked(mark);
  rmSync(folder, { recursive: true, force: true });
});

const app = path.join(folder, "app.ts");
/** The counter with another first number; outside of the tree, so the package goes by its address. */
function source(first: number): string {
  const sessionmesh = pathToFileURL(path.join(ROOT, "node", "sessionmesh.ts")).href;
  return readFileSync(path.join(import.meta.dirname, "counter-app.ts"), "utf8")
    .replace('"sessionmesh"', JSON.stringify(sessionmesh))
    .replace("#count = 0", `#count = ${first}`);
}

test("a change starts the node again, and one that does not load is reported and waited out", async () => {
  writeFileSync(app, source(0));
  const { NATS_URL: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    [path.join(ROOT, "cli", "mesh.ts"), "dev", app, "--json", "--port", "0", "--admin-port", "0"],
    { env: { ...env, ...markedEnv(mark) }, stdio: ["ignore", "pipe", "pipe", "ipc"] },
  );
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  if (child.stdout === null) throw new Error("no stdout");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const count = async (): Promise<unknown> => {
    const { gateway } = JSON.parse((await lines.next()).value ?? "") as { gateway: string };
    return (await fetch(`${gateway}/sessions/counter/alice`)).json();
  };
  expect(await count()).toEqual({ count: 1 });

  writeFileSync(app, source(100));
  expect(await count()).toEqual({ count: 101 });
  expect(stderr).toContain("app.ts changed: starting again");

  writeFileSync(app, "export default {{{");
  await expect.poll(() => stderr, { timeout: 10_000 }).toMatch(/error: .*app\.ts[^]*waiting for a change/);

  writeFileSync(app, source(200));
  expect(await count()).toEqual({ count: 201 });

  child.kill("SIGINT");
  expect(await once(child, "close")).toEqual([0, null]);
  expect(marked(mark)).toEqual([]);
});
