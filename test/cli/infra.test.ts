// Finding NATS and Redis: the order of the sources, what each says, and that what was started ends. The real nats-server where one is
// installed; scripts on a PATH of their own for the rest.

import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findBinary, versionOf } from "../../cli/infra/binary.ts";
import { findInfra, type InfraSource, type InfraWish } from "../../cli/infra/find.ts";
import { fromApt } from "../../cli/infra/from-apt.ts";
import { fromBinary } from "../../cli/infra/from-binary.ts";
import { fromUrl } from "../../cli/infra/from-url.ts";
import { startKept } from "../../cli/infra/kept.ts";
import { natsNeed, redisNeed, type InfraNeed } from "../../cli/infra/need.ts";
import { answers } from "../../cli/infra/port.ts";

let folder = "";
const said: string[] = [];
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "mesh-test-"));
  said.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function wish(env: Record<string, string> = {}): InfraWish {
  return { env, port: 0, storeDir: undefined, say: (message) => said.push(message) };
}

/** An executable of this name that runs the JavaScript; the folder that holds it. */
function script(name: string, source: string): string {
  const bin = path.join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(path.join(bin, name), `#!${process.execPath}\n${source}`);
  chmodSync(path.join(bin, name), 0o755);
  return bin;
}

/** A server of our own: listens, says so, notes its pid. */
const SERVER = `
import net from "node:net";
if (process.argv.includes("--version")) { console.log("fake-server: v1.2.3"); process.exit(0); }
const server = net.createServer().listen(0, "127.0.0.1", () => console.log("ready port=" + server.address().port));
`;
const fakeNeed: InfraNeed = {
  ...natsNeed,
  binary: "fake-server",
  aptPackage: "fake-package",
  args: (_port, storeDir) => [storeDir],
  readyPattern: /ready/,
  portPattern: /port=(\d+)/,
};

describe("the order", () => {
  const found: InfraSource = async () => ({
    found: true,
    infra: { url: "nats://a:1", how: "the second source", lost: new Promise(() => {}), stop: async () => {} },
  });

  test("the first source that has the server ends the search and is said", async () => {
    const never: InfraSource = () => Promise.reject(new Error("asked too far"));
    const missing: InfraSource = async () => ({ found: false, why: "nothing here" });
    const infra = await findInfra(natsNeed, wish(), [missing, found, never]);
    expect(infra.url).toBe("nats://a:1");
    expect(said).toEqual(["using the second source"]);
  });

  test("without any the error has every reason and what to install", async () => {
    const missing =
      (why: string): InfraSource =>
      async () => ({ found: false, why });
    await expect(findInfra(natsNeed, wish(), [missing("no a"), missing("no b")])).rejects.toMatchObject({
      code: "registry_unavailable",
      message: expect.stringMatching(/^no NATS found: no a; no b\.\nInstall nats-server .*NATS_URL/),
    });
  });
});

describe("the environment", () => {
  test("a server that answers is used as it is named", async () => {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const url = `nats://me:secret@127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
    const answer = await fromUrl(natsNeed, wish({ NATS_URL: url }));
    expect(answer).toMatchObject({ found: true, infra: { url } });
    expect(answer.found && answer.infra.how).not.toContain("secret");
    // One of several is enough: a cluster may have lost a server.
    expect(await fromUrl(natsNeed, wish({ NATS_URL: `nats://127.0.0.1:1, ${url}` }))).toMatchObject({ found: true });
    server.close();
  });

  test("one that does not answer is an error, not a reason to start another", async () => {
    await expect(fromUrl(natsNeed, wish({ NATS_URL: "nats://127.0.0.1:1" }))).rejects.toMatchObject({
      code: "registry_unavailable",
      message: "nothing answers at NATS_URL=nats://127.0.0.1:1",
    });
  });

  test("an address that is none is refused with an example", async () => {
    await expect(fromUrl(redisNeed, wish({ REDIS_URL: "redis://" }))).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringContaining("redis://127.0.0.1:6379"),
    });
  });

  test("unset or empty leaves it to the next source", async () => {
    expect(await fromUrl(natsNeed, wish())).toEqual({ found: false, why: "NATS_URL is not set" });
    expect(await fromUrl(natsNeed, wish({ NATS_URL: "" }))).toMatchObject({ found: false });
  });
});

describe("a binary", () => {
  test("is found on PATH first and then where servers are", () => {
    const bin = script("fake-server", "");
    expect(findBinary("fake-server", `/nonexistent:${bin}`, [])).toEqual({
      file: `${bin}/fake-server`,
      where: "on PATH",
    });
    expect(findBinary("fake-server", "", [bin])).toEqual({ file: `${bin}/fake-server`, where: `in ${bin}` });
    expect(findBinary("fake-server", "/nonexistent", [])).toBeUndefined();
    mkdirSync(path.join(folder, "a", "fake-server"), { recursive: true });
    expect(findBinary("fake-server", path.join(folder, "a"), [])).toBeUndefined();
  });

  test.for([
    ["nats-server: v2.9.10", "2.9.10"],
    ["Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"],
    ["something else", "of unknown version"],
  ] as const)("%j has version %s", async ([output, version]) => {
    const bin = script("fake-server", `console.log(${JSON.stringify(output)})`);
    expect(await versionOf(path.join(bin, "fake-server"))).toBe(version);
  });

  test("is started with a temporary folder and ends with it", async () => {
    const answer = await fromBinary(fakeNeed, wish({ PATH: script("fake-server", SERVER) }));
    if (!answer.found) throw new Error(answer.why);
    expect(answer.infra.how).toBe("fake-server 1.2.3 on PATH");
    const port = Number(new URL(answer.infra.url).port);
    expect(await answers("127.0.0.1", port, 1_000)).toBe(true);
    await answer.infra.stop();
    expect(await answers("127.0.0.1", port, 1_000)).toBe(false);
  });

  test("that does not start is an error with its own words", async () => {
    const bin = script(
      "fake-server",
      `if (!process.argv.includes("--version")) { console.error("no room on disk"); process.exit(3); }`,
    );
    await expect(fromBinary(fakeNeed, wish({ PATH: bin }))).rejects.toMatchObject({
      code: "registry_unavailable",
      message: "fake-server did not start: it ended with code 3\nno room on disk",
    });
  });

  test("that is not there is a reason", async () => {
    expect(await fromBinary(fakeNeed, wish({ PATH: folder }))).toEqual({
      found: false,
      why: "there is no fake-server on PATH",
    });
  });
});

describe("apt-get", () => {
  const root = { isDebian: true, isRoot: true };

  test("is left alone but on Debian as root", async () => {
    const PATH = script(
      "apt-get",
      `import fs from "node:fs"; fs.writeFileSync(${JSON.stringify(path.join(folder, "ran"))}, "")`,
    );
    expect(await fromApt(fakeNeed, wish({ PATH }), { isDebian: true, isRoot: false })).toMatchObject({ found: false });
    expect(await fromApt(fakeNeed, wish({ PATH }), { isDebian: false, isRoot: true })).toMatchObject({ found: false });
    expect(existsSync(path.join(folder, "ran"))).toBe(false);
  });

  test("says so first, updates its lists when it must, and the installed server is started", async () => {
    const log = path.join(folder, "apt.log");
    const PATH = script(
      "apt-get",
      `
      import fs from "node:fs";
      fs.appendFileSync(${JSON.stringify(log)}, process.argv.slice(2).join(" ") + "\\n");
      const updated = fs.readFileSync(${JSON.stringify(log)}, "utf8").includes("update");
      if (process.argv[2] === "install" && !updated) process.exit(100);
      if (process.argv[2] === "install") {
        fs.writeFileSync(import.meta.dirname + "/fake-server", "#!" + process.execPath + "\\n" + ${JSON.stringify(SERVER)}, { mode: 0o755 });
      }`,
    );
    const answer = await fromApt(fakeNeed, wish({ PATH }), root);
    expect(said).toEqual(["installing fake-package with apt-get, because no other NATS was found"]);
    expect(
      readFileSync(log, "utf8")
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(["install", "update", "install", ""]);
    expect(answer).toMatchObject({ found: true, infra: { how: "fake-server 1.2.3 on PATH" } });
    if (answer.found) await answer.infra.stop();
  });

  test("that fails is an error with what to do by hand", async () => {
    const PATH = script("apt-get", "process.exit(100)");
    await expect(fromApt(fakeNeed, wish({ PATH }), root)).rejects.toThrow("apt-get could not install fake-package");
  });
});

describe("the keeper", () => {
  test("reports a server that ends without being told to", async () => {
    const bin = script("fake-server", `${SERVER}; server.on("connection", () => process.exit(7));`);
    const kept = await startKept({
      command: path.join(bin, "fake-server"),
      args: [],
      readyPattern: "ready",
      portPattern: "port=(\\d+)",
      removeDir: "",
    });
    await answers("127.0.0.1", kept.port, 1_000);
    expect(await kept.lost).toBe("it ended with code 7");
    await kept.stop();
  });

  test("kills a server that does not end when told", async () => {
    const bin = script("fake-server", `process.on("SIGTERM", () => {}); ${SERVER}`);
    const kept = await startKept({
      command: path.join(bin, "fake-server"),
      args: [],
      readyPattern: "ready",
      portPattern: "port=(\\d+)",
      removeDir: "",
    });
    await kept.stop();
    expect(await answers("127.0.0.1", kept.port, 1_000)).toBe(false);
  });

  test("ends the real server and removes its folder when the process that started it is killed", async () => {
    const store = path.join(folder, "tmp");
    mkdirSync(store);
    const child = spawn(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `const { findInfra } = await import(${JSON.stringify(path.resolve("cli/infra/find.ts"))});
         const { natsNeed } = await import(${JSON.stringify(path.resolve("cli/infra/need.ts"))});
         const env = { PATH: process.env.PATH };
         const infra = await findInfra(natsNeed, { env, port: 0, storeDir: undefined, say: () => {} });
         console.log(infra.url); setInterval(() => {}, 1000);`,
      ],
      { env: { ...process.env, TMPDIR: store }, stdio: ["ignore", "pipe", "inherit"] },
    );
    const [url] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const port = Number(new URL(url).port);
    const socket = net.connect(port, "127.0.0.1");
    await once(socket, "connect");
    expect(readdirSync(store)).toHaveLength(1);
    const ended = once(socket.on("error", () => {}).resume(), "close");
    child.kill("SIGKILL");
    await ended;
    await expect.poll(() => readdirSync(store), { timeout: 4_000 }).toEqual([]);
  });
});
