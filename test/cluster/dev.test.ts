// `mesh dev`: a change of what the application imports starts the node again and nothing else does; an application that does not load
// waits for the next change.

import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { killMarked, marked, markedEnv } from "./processes.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
/** The tests lie outside of the tree, so the package goes by its address. */
const SESSIONMESH = JSON.stringify(pathToFileURL(path.join(ROOT, "node", "sessionmesh.ts")).href);
/** Far more than it takes, on a machine that is busy. */
const PATIENT = { timeout: 20_000 };

let mark = "";
let folder = "";
beforeEach(() => {
  mark = randomUUID();
  folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
});
afterEach(() => {
  killMarked(mark);
  rmSync(folder, { recursive: true, force: true });
});

function write(file: string, source: string): void {
  mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
  writeFileSync(path.join(folder, file), source);
}

/** The counter with another first number. */
function counter(first: number): string {
  return readFileSync(path.join(import.meta.dirname, "counter-app.ts"), "utf8")
    .replace('"sessionmesh"', SESSIONMESH)
    .replace("#count = 0", `#count = ${first}`);
}

interface Dev {
  readonly child: ChildProcess;
  readonly stderr: string;
  /** Of the next life of the node. */
  gateway(): Promise<string>;
}

function dev(env: Readonly<Record<string, string>> = {}, args: readonly string[] = []): Dev {
  const { NATS_URL: _, ...rest } = process.env;
  const mesh = path.join(ROOT, "cli", "mesh.ts");
  const child = spawn(
    process.execPath,
    [mesh, "dev", path.join(folder, "app.ts"), "--json", "--port", "0", "--admin-port", "0", ...args],
    { env: { ...rest, ...env, ...markedEnv(mark) }, stdio: ["ignore", "pipe", "pipe", "ipc"] },
  );
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  if (child.stdout === null) throw new Error("no stdout");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    get stderr() {
      return stderr;
    },
    gateway: async () => (JSON.parse((await lines.next()).value ?? "") as { gateway: string }).gateway,
  };
}

async function ask(gateway: string): Promise<unknown> {
  return (await fetch(`${gateway}/sessions/counter/alice`)).json();
}

test("a change starts the node again, and one that does not load is reported and waited out", async () => {
  write("app.ts", counter(0));
  const node = dev();
  expect(await ask(await node.gateway())).toEqual({ count: 1 });

  write("app.ts", counter(100));
  expect(await ask(await node.gateway())).toEqual({ count: 101 });
  expect(node.stderr).toContain("app.ts changed: starting again");

  write("app.ts", "export default {{{");
  await expect.poll(() => node.stderr, PATIENT).toMatch(/error: .*app\.ts[^]*waiting for a change/);

  write("app.ts", counter(200));
  expect(await ask(await node.gateway())).toEqual({ count: 201 });

  write("app.ts", counter(0).replace("this.#count += 1;", 'throw new RangeError("too far");'));
  const place = /^RangeError: too far \(\S*app\.ts:9:11\)$/;
  expect(await ask(await node.gateway())).toMatchObject({
    code: "handler_failed",
    detail: expect.stringMatching(place),
  });

  node.child.kill("SIGINT");
  expect(await once(node.child, "close")).toEqual([0, null]);
  expect(marked(mark)).toEqual([]);
});

// Six starts of a node.
test(
  "what the application imports is watched, and what it writes beside itself is not",
  { timeout: 180_000 },
  async () => {
    write("lib/value.ts", "export const value: number = 1;");
    write("lib/late.ts", "export const late = 1;");
    write("data.json", '{ "data": 1 }');
    write("page.html", "one");
    write("other/package.json", '{ "name": "other", "type": "module", "exports": "./index.js" }');
    write("other/index.js", "export const other = 1;");
    mkdirSync(path.join(folder, "node_modules"));
    symlinkSync(path.join(folder, "other"), path.join(folder, "node_modules", "other"));
    write("node_modules/installed/index.mjs", "export const installed = 1;");
    write("node_modules/installed/package.json", '{ "name": "installed", "exports": "./index.mjs" }');
    write(
      "app.ts",
      `import { appendFileSync } from "node:fs";
     import { SessionServer, defineMesh } from ${SESSIONMESH};
     import { other } from "other";
     import { installed } from "installed";
     import data from "./data.json" with { type: "json" };
     import { value } from "./lib/value.ts";
     const log = (name: string): void => appendFileSync(new URL(name, import.meta.url), "a line\\n");
     log("start.log");
     class Counter extends SessionServer {
       override async fetch(): Promise<Response> {
         for (const name of ["app.log", "lib/app.sqlite", \`lib/\${Date.now()}.ts\`]) log(name);
         const { late } = await import("./lib/late.ts");
         return Response.json([data.data, value, late, other, installed]);
       }
     }
     export default defineMesh({ sessions: { counter: Counter } });`,
    );
    const node = dev({}, ["--watch", path.join(folder, "page.html")]);
    let gateway = await node.gateway();
    const values = [1, 1, 1, 1, 1];
    for (let n = 0; n < 20; n++) expect(await ask(gateway)).toEqual(values);
    expect(node.stderr).not.toContain("changed");
    for (const [at, file, source] of [
      [0, "data.json", '{ "data": 2 }'],
      [1, "lib/value.ts", "export const value: number = 2;"],
      [2, "lib/late.ts", "export const late = 2;"],
      [3, "other/index.js", "export const other = 2;"],
      [undefined, "page.html", "two"],
    ] as const) {
      // As editors save.
      write(`${file}.new`, source);
      renameSync(path.join(folder, `${file}.new`), path.join(folder, file));
      gateway = await node.gateway();
      if (at !== undefined) values[at] = 2;
      expect(await ask(gateway)).toEqual(values);
      expect(node.stderr).toContain(`${file} changed: starting again`);
    }
    write("node_modules/installed/index.mjs", "export const installed = 2;");
    expect(await ask(gateway)).toEqual(values);
    expect(node.stderr.match(/starting again/g)).toHaveLength(5);
  },
);

test("a module that was missing starts the node when it appears", async () => {
  write("app.ts", `import "./lib/gone.ts";\n${counter(0)}`);
  const node = dev();
  await expect.poll(() => node.stderr, PATIENT).toMatch(/Cannot find module .*gone\.ts[^]*waiting for a change/);
  write("app.log", "no reason to start");
  write("lib/other.ts", "");
  write("lib/gone.ts", 'import "absent";');
  await expect.poll(() => node.stderr, PATIENT).toMatch(/Cannot find package 'absent'[^]*waiting for a change/);
  expect(node.stderr.match(/starting again/g)).toHaveLength(1);
  write("node_modules/absent/index.js", "");
  write("node_modules/absent/package.json", '{ "name": "absent" }');
  expect(await ask(await node.gateway())).toEqual({ count: 1 });
});

test("an await at the top level that never settles is named, and fails the start at its limit", async () => {
  write("db.ts", "export const db = 1;\nawait Promise.resolve();\nawait new Promise(() => {});");
  write("app.ts", `import "./db.ts";\n${counter(0)}`);
  const node = dev({ MESH_START_LIMIT_MS: "6000" });
  const place = "db.ts:3 `await new Promise(() => {});`";
  await expect.poll(() => node.stderr, PATIENT).toContain("the application is still loading");
  expect(node.stderr).toContain(place);
  expect(node.stderr).not.toContain("did not finish");
  await expect.poll(() => node.stderr, PATIENT).toContain("waiting for a change");
  expect(node.stderr).toContain("app.ts did not finish loading within 6000 ms: it waits at");
  expect(node.stderr.split(place)).toHaveLength(3);
  write("db.ts", "export const db = 1;");
  expect(await ask(await node.gateway())).toEqual({ count: 1 });
});
