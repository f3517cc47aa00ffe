// What a person or a script sees of the command without any mesh: output, suggestions and exit codes.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { text } from "node:stream/consumers";
import path from "node:path";
import { expect, test } from "vitest";

const MESH = path.join(import.meta.dirname, "..", "..", "cli", "mesh.ts");
const APP = path.join(import.meta.dirname, "..", "cluster", "counter-app.ts");

async function mesh(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { NATS_URL: _nats, MESH_NAME: _mesh, ...rest } = process.env;
  const child = spawn(process.execPath, [MESH, ...args], {
    env: { ...rest, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise((resolve) => child.once("close", resolve)),
  ]);
  return { out, err, code };
}

test("--help and --version go to stdout and are no failure", async () => {
  const [help, version] = await Promise.all([mesh(["--help"]), mesh(["--version"])]);
  expect(help).toMatchObject({ code: 0, err: "" });
  for (const command of ["up", "dev", "node", "session", "registry"]) expect(help.out).toContain(`\n  ${command} `);
  expect(version).toMatchObject({ code: 0, err: "" });
  expect(version.out).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("an unknown command is a usage error with a suggestion", async () => {
  const { code, out, err } = await mesh(["sesion", "list"]);
  expect(code).toBe(2);
  expect(out).toBe("");
  expect(err).toContain("unknown command 'sesion'");
  expect(err).toContain("Did you mean session?");
});

test.for([
  [["session", "lst"], "Did you mean list?"],
  [["session", "list", "--lmit", "3"], "Did you mean --limit?"],
  [["session", "list", "--limit", "1001"], "from 1 to 1000"],
  [["up"], "missing required argument 'app'"],
  [["up", "app.ts", "--nodes", "0"], "from 1 to 64"],
  [["up", "app.ts", "--port", "65536"], "from 0 to 65535"],
  [["up", "app.ts", "--port", "-1"], "from 0 to 65535"],
  [["node"], "missing required argument 'app'"],
] as const)("%j is a usage error", async ([args, message]) => {
  const { code, out, err } = await mesh(args);
  expect(err).toContain(message);
  expect(out).toBe("");
  expect(code).toBe(2);
});

test("mesh up of an application that is not there fails before it starts anything", async () => {
  const { code, err } = await mesh(["up", "nowhere/app.ts", "--port", "0"]);
  expect(code).toBe(1);
  expect(err).toContain(`there is no application at ${path.resolve("nowhere/app.ts")}`);
});

test("mesh dev on a taken port ends, and names the option that moves it", async () => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const address = server.address();
    const taken = typeof address === "object" && address !== null ? String(address.port) : "";
    const [gateway, admin, both] = await Promise.all([
      mesh(["dev", APP, "--port", taken, "--admin-port", "0"]),
      mesh(["dev", APP, "--port", "0", "--admin-port", taken]),
      mesh(["dev", APP, "--port", taken, "--admin-port", taken]),
    ]);
    expect(gateway).toMatchObject({ code: 1, out: "" });
    expect(gateway.err).toContain(`port ${taken} is taken (it is for the gateway of dev): start elsewhere with --port`);
    expect(admin).toMatchObject({ code: 1, out: "" });
    expect(admin.err).toContain(
      `port ${taken} is taken (it is for the admin port of dev): start elsewhere with --admin`,
    );
    expect(both).toMatchObject({
      code: 1,
      err: `error: --port and --admin-port are both ${taken}: move one of them\n`,
    });
  } finally {
    server.close();
  }
});

test("mesh dev and mesh up say which variables they do not read", async () => {
  const env = { MESH_PORT: "8123" };
  const [dev, up] = await Promise.all([mesh(["dev", "gone.ts"], env), mesh(["up", "gone.ts", "--port", "0"], env)]);
  expect(dev.err).toContain("warning: MESH_PORT is not read by mesh dev: use --port\n");
  expect(up.err).toContain("warning: MESH_PORT is not read by mesh up: use --port\n");
});

test("mesh node without NATS says what to set", async () => {
  const { code, err } = await mesh(["node", "app.ts"]);
  expect(code).toBe(1);
  expect(err).toContain("NATS_URL is not set");
  expect(err).toContain("mesh dev");
});

test("mesh node list is the list, not an application", async () => {
  const { code, err } = await mesh(["node", "list", "--nats", "nats://127.0.0.1:1"]);
  expect(code).toBe(1);
  expect(err).toContain("NATS does not answer at nats://127.0.0.1:1");
  expect(err).toContain("A mesh of `mesh up` is found from the folder that it was started in, any other with --nats");
  expect(err).toContain("`mesh dev` has no registry to ask");
});

test("a password in NATS_URL is not printed", async () => {
  const { err } = await mesh(["session", "count"], { NATS_URL: "nats://bob:secret@127.0.0.1:1" });
  expect(err).toContain("nats://***@127.0.0.1:1");
  expect(err).not.toContain("secret");
});

test("colour is left out for a pipe and when NO_COLOR is set", async () => {
  const { err } = await mesh(["session", "get", "nokind"], { NO_COLOR: "1" });
  expect(err).toBe('error: "nokind" is not a session: write kind/name, for example chat/lobby\n');
});
