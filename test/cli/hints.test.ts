import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { hintsOf, hintText, meshCommand } from "../../cli/hints.ts";

const AT = "http://127.0.0.1:8080";

function nodes(serves: { kinds: { kind: string; http: boolean; sockets: boolean }[]; ownFetch: boolean }) {
  return ["n1", "n2"].map((id, at) => ({
    id,
    gateway: `http://127.0.0.1:${8081 + at}`,
    admin: "http://127.0.0.1:9080",
    pid: 1,
    workers: [],
    serves,
  }));
}

test("kinds that answer requests get a curl line, kinds that take sockets a connect line, others none", () => {
  const kinds = [
    { kind: "cart", http: true, sockets: false },
    { kind: "timer", http: false, sockets: false },
    { kind: "game", http: true, sockets: true },
  ];
  expect(hintsOf(AT, nodes({ kinds, ownFetch: false }), "npx mesh").map(([command]) => command)).toEqual([
    "curl http://127.0.0.1:8080/sessions/cart/alice",
    "curl http://127.0.0.1:8082/sessions/cart/alice",
    "curl http://127.0.0.1:8080/sessions/game/alice",
    "npx mesh connect ws://127.0.0.1:8080/sessions/game/lobby",
  ]);
});

test("an application with a fetch of its own knows its paths alone", () => {
  const kinds = [{ kind: "cart", http: true, sockets: true }];
  expect(hintsOf(AT, nodes({ kinds, ownFetch: true }), "mesh").map(([command]) => command)).toEqual([`curl ${AT}/`]);
});

test("one node has no other to ask through", () => {
  const [only] = nodes({ kinds: [{ kind: "cart", http: true, sockets: false }], ownFetch: false });
  expect(hintsOf(only?.gateway ?? "", only === undefined ? [] : [only], "mesh")).toHaveLength(1);
});

test("hints stand in two columns", () => {
  expect(
    hintText([
      ["a", "one"],
      ["long", "two"],
    ]),
  ).toBe("  a      one\n  long   two");
});

test("mesh is called as this folder can call it", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  try {
    const app = path.join(folder, "app", "src");
    mkdirSync(app, { recursive: true });
    expect(meshCommand(app)).toBe("mesh");
    mkdirSync(path.join(folder, "app", "node_modules", ".bin"), { recursive: true });
    writeFileSync(path.join(folder, "app", "node_modules", ".bin", "mesh"), "");
    expect(meshCommand(app)).toBe("npx mesh");
    writeFileSync(path.join(folder, "package.json"), '{ "name": "sessionmesh" }');
    expect(meshCommand(folder)).toBe("npm run -s mesh --");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
