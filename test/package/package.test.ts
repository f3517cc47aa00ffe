// The package as strangers get it: packed, installed by npm into a folder with spaces and umlauts, and run there. `create-sessionmesh`
// makes that folder. Nothing of the checkout is used but the tarballs, its compiler and its Node.

import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { killMarked, markedEnv } from "../cluster/processes.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const BIN = path.join(ROOT, "node_modules/.bin");
const mark = randomUUID();
const home = realpathSync(mkdtempSync(path.join(os.tmpdir(), "mesh-package-")));
/** What `npm create sessionmesh` makes. */
const app = path.join(home, "Räume für alle");
const mesh = path.join(app, "node_modules/.bin/mesh");
const { NATS_URL: _, npm_package_name: __, ...inherited } = process.env;
const env = {
  ...inherited,
  ...markedEnv(mark),
  PATH: `${BIN}:${process.env["PATH"] ?? ""}`,
  npm_config_prefer_offline: "true",
  npm_config_loglevel: "error",
};

interface Packed {
  readonly size: number;
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}
interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(command: string, args: readonly string[], cwd: string): Promise<Ran> {
  const child = promisify(execFile)(command, [...args], { cwd, env, maxBuffer: 16 * 1024 * 1024 });
  try {
    return { code: 0, ...(await child) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

async function pack(folder: string): Promise<Packed> {
  const { stdout, stderr } = await run("npm", ["pack", "--json", "--pack-destination", home], folder);
  const packed: Packed | undefined = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]/m))))[0] as Packed;
  if (packed === undefined) throw new Error(stderr);
  return packed;
}

/** Starts a mesh and gives its gateways once it answers. */
async function start(command: string, args: readonly string[], cwd: string): Promise<readonly string[]> {
  const child = spawn(command, [...args, "--json", "--port", "0", "--admin-port", "0"], {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const end = once(child, "exit").then(() => {
    throw new Error(`it ended: ${said}`);
  });
  const line = once(createInterface(child.stdout), "line");
  const ready = await Promise.race([line, end]);
  end.catch(() => {});
  const report = JSON.parse(String(ready[0])) as { gateway: string; nodes?: readonly { gateway: string }[] };
  return (report.nodes ?? [report]).map(({ gateway }) => gateway);
}

async function count(gateway: string | undefined, kind = "counter"): Promise<unknown> {
  return (await fetch(`${gateway}/sessions/${kind}/alice`)).json();
}

function write(name: string, text: string): string {
  const file = path.join(app, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const IMPORTS = 'import { defineMesh, SessionServer } from "sessionmesh";\n';
const BODY = `class Counter extends SessionServer {
  count = 0;
  fetch() { return Response.json({ count: ++this.count }); }
}
class Thread extends Counter { static options = { isolation: "thread" } }
class Own extends Counter { static options = { isolation: "process" } }
`;
const SESSIONS = "defineMesh({ sessions: { counter: Counter, thread: Thread, own: Own } })";
const MODULE = `${IMPORTS}${BODY}export default ${SESSIONS};\n`;
const COMMON = `const { defineMesh, SessionServer } = require("sessionmesh");\n${BODY}`;

/** What the installed package says of application modules, without starting anything. */
async function load(...files: readonly string[]): Promise<Record<string, string>> {
  const script = write(
    "load.mjs",
    `import { loadApplication } from "./node_modules/sessionmesh/dist/node/session/load-application.js";
     const told = {};
     for (const file of process.argv.slice(2)) {
       try { told[file] = [...(await loadApplication(file)).kinds.keys()].join(); }
       catch (error) { told[file] = error.code + ": " + error.message; }
     }
     console.log(JSON.stringify(told));`,
  );
  const { stdout, stderr } = await run(process.execPath, [script, ...files], app);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Record<string, string>;
}

let main: Packed;
let tarball = "";

beforeAll(async () => {
  main = await pack(ROOT);
  tarball = path.join(home, main.filename);
  const creator = path.join(home, (await pack(path.join(ROOT, "create"))).filename);
  const made = await run(
    "npm",
    ["exec", "--yes", "--package", creator, "--", "create-sessionmesh", path.basename(app), "--sessionmesh", tarball],
    home,
  );
  expect(made, made.stderr).toMatchObject({ code: 0 });
});
afterEach(() => killMarked(mark));
afterAll(() => rmSync(home, { recursive: true, force: true }));

describe("the tarball", () => {
  test("is small and holds only what runs", () => {
    expect(main.size).toBeLessThan(1_000_000);
    const strange = main.files.filter(
      (file) =>
        !/^(dist\/(node|mesh|placement|proto|cli)\/|bin\/mesh\.cjs$|package\.json$|README\.md$|LICENSE$)/.test(
          file.path,
        ),
    );
    expect(strange).toEqual([]);
  });

  test("has no fault that publint or attw knows", async () => {
    const publint = await run(path.join(BIN, "publint"), ["run", tarball, "--strict"], ROOT);
    expect(publint, publint.stdout).toMatchObject({ code: 0 });
    const attw = await run(path.join(BIN, "attw"), [tarball], ROOT);
    expect(attw, attw.stdout).toMatchObject({ code: 0 });
  });
});

describe("what npm create makes", () => {
  test("passes its own test and its compiler", async () => {
    const tested = await run("npm", ["test"], app);
    expect(tested, tested.stdout).toMatchObject({ code: 0 });
    expect(tested.stdout).toMatch(/pass 3/);
    expect(await run("npm", ["run", "types"], app)).toMatchObject({ code: 0 });
    const manifest = readFileSync(path.join(app, "package.json"), "utf8");
    expect(JSON.parse(manifest)).toMatchObject({ scripts: { start: "mesh dev app.ts --watch page.html" } });
  });

  test("is not made over a folder that holds something", async () => {
    const again = await run(process.execPath, [path.join(ROOT, "create/create.js"), app], home);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("is not empty");
  });
});

describe("an application", () => {
  test("may be TypeScript or JavaScript, an ES module or CommonJS", async () => {
    const files = [
      write("kinds/module.ts", MODULE),
      write("kinds/module.mts", MODULE),
      write("kinds/module.js", MODULE),
      write("kinds/module.mjs", MODULE),
      write("kinds/common.cjs", `${COMMON}module.exports = ${SESSIONS};\n`),
      write("kinds/common.cts", `${COMMON}module.exports = ${SESSIONS};\n`),
      write("kinds/compiled.cjs", `${COMMON}exports.__esModule = true;\nexports.default = ${SESSIONS};\n`),
    ];
    expect(await load(...files)).toEqual(Object.fromEntries(files.map((file) => [file, "counter,thread,own"])));
  });

  test("runs from another folder, in a monorepo by link, with sessions in threads and processes", async () => {
    const own = path.join(home, "monorepo/packages/app");
    mkdirSync(path.join(own, "node_modules"), { recursive: true });
    symlinkSync(path.join(app, "node_modules/sessionmesh"), path.join(own, "node_modules/sessionmesh"));
    mkdirSync(path.join(home, "monorepo/node_modules"));
    symlinkSync(own, path.join(home, "monorepo/node_modules/app"));
    writeFileSync(path.join(own, "app.ts"), MODULE);
    const linked = path.join(home, "monorepo/node_modules/app/app.ts");
    const [gateway] = await start(mesh, ["dev", linked], os.tmpdir());
    expect(await count(gateway)).toEqual({ count: 1 });
    expect(await count(gateway, "thread")).toEqual({ count: 1 });
    expect(await count(gateway, "own")).toEqual({ count: 1 });
  });

  test("runs on three nodes", async () => {
    const gateways = await start("npx", ["mesh", "up", "app.ts", "--nodes", "3", "--workers", "1"], app);
    expect(gateways).toHaveLength(3);
    for (const gateway of gateways) await fetch(`${gateway}/sessions/counter/alice`, { method: "POST" });
    expect(await count(gateways[0])).toMatchObject({ count: 3 });
  });

  test("outside any package is told what to install", async () => {
    const lost = path.join(home, "lost.ts");
    writeFileSync(lost, MODULE);
    expect((await load(lost))[lost]).toBe(
      `bad_app: ${lost} cannot be loaded: "sessionmesh" is not installed where it is: run npm i sessionmesh in ${home}`,
    );
  });

  test("that is an ES module under commonjs is told what to write", async () => {
    write("common/package.json", '{ "type": "commonjs" }');
    const file = write("common/app.ts", MODULE);
    expect((await load(file))[file]).toContain('write "type": "module" there');
  });

  test("is run by its own copy of the package, whichever was started", async () => {
    const other = path.join(app, "node_modules/else/node_modules/sessionmesh");
    cpSync(path.join(app, "node_modules/sessionmesh"), other, { recursive: true });
    const [gateway] = await start(process.execPath, [path.join(other, "bin/mesh.cjs"), "dev", "kinds/module.ts"], app);
    expect(await count(gateway)).toEqual({ count: 1 });

    // A class of that copy is a stranger.
    write("node_modules/else/index.js", `${COMMON}module.exports = { Counter };\n`);
    const file = write(
      "two.ts",
      'import { defineMesh } from "sessionmesh";\nimport { Counter } from "else";\nexport default defineMesh({ sessions: { counter: Counter } });\n',
    );
    const told = (await load(file))[file];
    expect(told).toContain(`another copy of "sessionmesh": theirs is ${other}`);
    expect(told).toContain(`the one that runs is ${path.join(app, "node_modules/sessionmesh")}`);
  });

  test("has its loader in workers, threads and processes by --import", async () => {
    write("node_modules/loader/package.json", '{ "name": "loader", "type": "module", "exports": "./index.js" }');
    write("node_modules/loader/index.js", "globalThis.loaded = true;");
    const file = write("loaded.ts", MODULE.replaceAll("++this.count", "[globalThis.loaded, ++this.count].join()"));
    const [gateway] = await start(mesh, ["dev", file, "--import", "loader"], home);
    expect(await count(gateway)).toEqual({ count: "true,1" });
    expect(await count(gateway, "thread")).toEqual({ count: "true,1" });
    expect(await count(gateway, "own")).toEqual({ count: "true,1" });
  });
});

describe("the declarations", () => {
  const compile = (name: string, file: string, options: object): Promise<Ran> =>
    run(
      process.execPath,
      [
        path.join(ROOT, "node_modules/typescript/bin/tsc"),
        "-p",
        write(
          name,
          JSON.stringify({
            compilerOptions: { strict: true, skipLibCheck: false, noEmit: true, target: "esnext", ...options },
            files: [file],
          }),
        ),
      ],
      app,
    );

  test.each([
    ["Node's library alone", { module: "nodenext", lib: ["es2025"], types: ["node"] }],
    ["no library named", { module: "nodenext" }],
    ["no types named", { module: "nodenext", lib: ["es2024"], types: [] }],
    ["a browser's library and a bundler", { module: "esnext", moduleResolution: "bundler", lib: ["esnext", "dom"] }],
  ])("compile with %s", async (name, options) => {
    const compiled = await compile(`tsconfig.${name.length}.json`, "kinds/module.ts", options);
    expect(compiled, compiled.stdout).toMatchObject({ code: 0, stdout: "" });
  });

  test("refuse a misspelt hook and an unknown option", async () => {
    write(
      "wrong.ts",
      `${IMPORTS}class Hook extends SessionServer { onMesage() {} }
class Option extends SessionServer { static options = { idleMs: 5, idelMs: 6 } }
export default defineMesh({ sessions: { hook: Hook, option: Option } });\n`,
    );
    const { code, stdout } = await compile("tsconfig.wrong.json", "wrong.ts", { module: "nodenext", types: ["node"] });
    expect(code).not.toBe(0);
    expect(stdout).toContain('did you mean \\"onMessage\\"?');
    expect(stdout).toContain('options has no \\"idelMs\\"');
  });
});

test("a Node that is too old is told in one line what it needs", async () => {
  const old = write(
    "old.cjs",
    'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } });',
  );
  const told = await run(process.execPath, ["--require", old, mesh, "dev", "my app.ts"], app);
  expect(told.code).toBe(1);
  expect(told.stdout).toBe("");
  expect(told.stderr).toMatch(
    /^mesh needs Node\.js 24\.12 or later and this is 20\.20\.2: .*npx -y node@26 node_modules\/sessionmesh\/bin\/mesh\.cjs dev "my app\.ts"\n$/,
  );
});
