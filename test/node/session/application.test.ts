import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { SessionServer, defineMesh, type MeshDefinition, type SessionClass } from "sessionmesh";

class Counter extends SessionServer {}

function withOptions(options: unknown): SessionClass {
  class Cart extends SessionServer {
    static readonly options = options as object;
  }
  return Cart;
}

function refusalOf(definition: unknown): string {
  try {
    defineMesh(definition as MeshDefinition);
    return "accepted";
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code}: ${message}`;
  }
}

describe("defineMesh", () => {
  test.each([
    ["no object", undefined, "defineMesh takes { sessions: { kind: Class } }"],
    ["no kinds", { sessions: {} }, "at least one kind"],
    ["an unknown field", { sessions: { counter: Counter }, routes: {} }, 'it knows no "routes"'],
    ["a fetch that is no function", { sessions: { counter: Counter }, fetch: 1 }, "fetch must be a function"],
    ["a kind that cannot stand in a URL", { sessions: { Counter } }, '"Counter" is not a session kind'],
    [
      "a class of something else",
      { sessions: { counter: Map } },
      "sessions.counter must be a class that extends SessionServer",
    ],
    ["an instance", { sessions: { counter: {} } }, "not an object"],
    [
      "one class twice",
      { sessions: { one: Counter, two: Counter } },
      "sessions.two and sessions.one are the same class",
    ],
  ])("refuses %s", (_name, definition, message) => {
    const refusal = refusalOf(definition);
    expect(refusal).toContain("bad_app: ");
    expect(refusal).toContain(message);
  });

  test.each([
    [{ idleMS: 1 }, 'Cart.options has no "idleMS"; it may have idleMs, isolation'],
    [
      { idleMs: "1s" },
      'Cart.options.idleMs must be a number of milliseconds, 0 or more (Infinity is allowed), not "1s"',
    ],
    [{ idleMs: -1 }, "Cart.options.idleMs"],
    [{ idleMs: Number.NaN }, "Cart.options.idleMs"],
    [{ maxMessageBytes: 0 }, "1 or more"],
    [{ isolation: "container" }, 'Cart.options.isolation must be "shared" or "thread" or "process", not "container"'],
    [{ heapMb: 64 }, 'Cart.options.heapMb needs isolation: "thread" or "process"'],
    [{ isolation: "process", heapMb: "1g" }, 'Cart.options.heapMb must be a whole number of MB, 16 to 65536, not "1g"'],
    [
      { isolation: "thread", turnBudgetMs: Infinity },
      "Cart.options.turnBudgetMs must be a whole number of milliseconds, 50 to 3600000, not Infinity",
    ],
    [{ storage: "redis" }, 'Cart.options.storage must be "none", not "redis"; "redis" is not available'],
    [{ sockets: "hold" }, 'Cart.options.sockets must be "close", not "hold"'],
    [{ uncaught: "ignore" }, 'Cart.options.uncaught must be "event" or "session", not "ignore"'],
    [{ turns: "parallel" }, 'Cart.options.turns must be "interleaved" or "serial", not "parallel"'],
    [{ placement: { zone: "a" } }, 'Cart.options.placement has no "zone"'],
    [{ placement: { policy: "random" } }, 'must be "owner-first" or "spread"'],
    [{ placement: { labels: { disk: 1 } } }, "Cart.options.placement.labels.disk must be a string, not 1"],
    ["fast", 'Cart.options must be an object, not "fast"'],
  ])("refuses options %j", (options, message) => {
    expect(refusalOf({ sessions: { cart: withOptions(options) } })).toContain(message);
  });

  test("fills in defaults and keeps what was said", () => {
    const cart = withOptions({ idleMs: Infinity, turns: "serial", placement: { labels: { disk: "ssd" } } });
    const application = defineMesh({ sessions: { counter: Counter, cart } });
    expect(application.kind("counter").options).toEqual({
      isolation: "shared",
      heapMb: 256,
      turnBudgetMs: undefined,
      idleMs: 60_000,
      crashes: false,
      serial: false,
      maxSockets: 10_000,
      maxBodyBytes: 33_554_432,
      maxMessageBytes: 1_048_576,
      compress: false,
      maxBufferedBytes: 4_194_304,
      requestTimeoutMs: 30_000,
      placement: { policy: "owner-first", labels: {} },
    });
    expect(application.kind("cart").options).toMatchObject({
      idleMs: Infinity,
      serial: true,
      placement: { policy: "owner-first", labels: { disk: "ssd" } },
    });
    expect(application.kindOf(cart)).toBe("cart");
    expect(() => application.kindOf(class Other extends SessionServer {})).toThrow("class Other is not among");
  });
});

// Node itself must load these: a child process does, once for all.
describe("loadApplication", async () => {
  const facade = JSON.stringify(import.meta.resolve("../../../node/sessionmesh.ts"));
  const good = `import { SessionServer, defineMesh } from ${facade};\nclass Counter extends SessionServer {}\n`;
  const modules: Record<string, string> = {
    "good.ts": `${good}export default defineMesh({ sessions: { counter: Counter } });`,
    "named.ts": `${good}export const app = defineMesh({ sessions: { counter: Counter } });`,
    "nothing.ts": good,
    "other.ts": "export default { sessions: {} };",
    "kind.ts": `${good}export default defineMesh({ sessions: { "A B": Counter } });`,
    "syntax.js": "export default {\n  oops oops\n};",
    "syntax.ts": "export default {\n  oops oops\n};",
    "enum.ts": "enum Colour { Red }\nexport default Colour;",
    "throws.ts": 'function start() {\n  throw new Error("no database");\n}\nstart();',
    "import.ts": 'import "./nowhere.ts";',
    "view.tsx": "export default 1;",
  };
  const folder = await mkdtemp(path.join(os.tmpdir(), "mesh-app-"));
  for (const [name, text] of Object.entries(modules)) await writeFile(path.join(folder, name), text);
  const loader = new URL("../../../node/session/load-application.ts", import.meta.url).href;
  const script = `
    const { loadApplication } = await import(${JSON.stringify(loader)});
    const told = {};
    for (const name of ${JSON.stringify([...Object.keys(modules), "missing.ts"])}) {
      try {
        const application = await loadApplication(${JSON.stringify(folder)} + "/" + name);
        told[name] = [...application.kinds.keys()].join();
      } catch (error) {
        told[name] = error.code + ": " + error.message + (error.cause === undefined ? "" : " (cause kept)");
      }
    }
    console.log(JSON.stringify(told));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    cwd: path.dirname(fileURLToPath(import.meta.url)),
  });
  await rm(folder, { recursive: true });
  const told: Record<string, string> = JSON.parse(stdout);

  test("gives the application of a good module", () => {
    expect(told["good.ts"]).toBe("counter");
  });

  test.each([
    ["missing.ts", "there is no application at"],
    ["named.ts", 'exports its application as "app"; write export default app'],
    ["nothing.ts", "has no default export; end it with export default defineMesh"],
    ["other.ts", "was not made by defineMesh"],
    ["kind.ts", '"A B" is not a session kind'],
    ["syntax.js", `at ${folder}/syntax.js:2 (cause kept)`],
    ["syntax.ts", "/syntax.ts:2 (cause kept)"],
    ["enum.ts", "enums, namespaces, parameter properties and decorators do not run"],
    ["throws.ts", `no database at ${pathToFileURL(folder).href}/throws.ts:2 (cause kept)`],
    ["import.ts", "nowhere.ts"],
    ["view.tsx", "use .ts, .mts, .js or .mjs"],
  ])("says what is wrong with %s", (name, message) => {
    expect(told[name]).toContain("bad_app: ");
    expect(told[name]).toContain(message);
  });
});
