// An application with packages of its own in an image on top of ours, as docs/deployment.md says: its packages are there, and it runs without
// root, without a file system to write to and without a capability.

import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { eventually } from "../cluster/eventually.ts";
import { docker } from "./project.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
const BUILD_MS = 300_000;
const UP_MS = 60_000;

const name = `sessionmesh-test-${randomBytes(4).toString("hex")}`;
const locked = ["--init", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"];

const APP = `
import { greet } from "greeting";
import { SessionServer, defineMesh } from "sessionmesh";
class Hello extends SessionServer {
  override fetch(): Response {
    return Response.json({ text: greet(this.ctx.id.name), from: import.meta.resolve("sessionmesh") });
  }
}
export default defineMesh({ sessions: { hello: Hello } });
`;

/** The lines of the document, on our image. */
const documented = /```dockerfile\n([^`]+)```/.exec(readFileSync(path.join(ROOT, "docs/deployment.md"), "utf8"))?.[1];

describe.skipIf(inject("noEngine") !== "")("an image on top of ours", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-image-"));
  const built: string[] = [];
  const build = async (tag: string, context: string): Promise<void> => {
    await docker("build", "-q", "--network", "host", "-t", tag, context);
    built.unshift(tag);
  };

  beforeAll(async () => {
    await build(name, ROOT);
    mkdirSync(path.join(folder, "greeting"));
    writeFileSync(path.join(folder, "app.ts"), APP);
    writeFileSync(path.join(folder, "greeting/index.js"), "export const greet = (who) => `Hello ${who}`;\n");
    const packed = { name: "greeting", version: "1.0.0", type: "module", exports: "./index.js" };
    writeFileSync(path.join(folder, "greeting/package.json"), JSON.stringify(packed));
    const dependencies = { greeting: "file:./greeting" };
    writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "app", type: "module", dependencies }));
    const packages = {
      "": { name: "app", dependencies },
      greeting: { version: "1.0.0" },
      "node_modules/greeting": { resolved: "greeting", link: true },
    };
    writeFileSync(
      path.join(folder, "package-lock.json"),
      JSON.stringify({ name: "app", lockfileVersion: 3, requires: true, packages }),
    );
  }, BUILD_MS);
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    if (built.length > 0) await docker("image", "rm", "-f", ...built);
  });

  test("finds our package and its own", { timeout: BUILD_MS }, async () => {
    writeFileSync(path.join(folder, "Dockerfile"), documented?.replace("FROM sessionmesh", `FROM ${name}`) ?? "");
    await build(`${name}:app`, folder);
    expect(await answerOf(`${name}:app`)).toEqual({
      text: "Hello bob",
      from: "file:///usr/local/lib/node_modules/sessionmesh/dist/node/sessionmesh.js",
    });
  });

  test("runs by the copy that its own package.json names", { timeout: BUILD_MS }, async () => {
    const context = path.join(folder, "own-copy");
    mkdirSync(context);
    for (const file of ["app.ts", "greeting"])
      cpSync(path.join(folder, file), path.join(context, file), { recursive: true });
    const dependencies = { greeting: "file:./greeting", sessionmesh: "file:./sessionmesh-0.1.0.tgz" };
    writeFileSync(path.join(context, "package.json"), JSON.stringify({ name: "app", type: "module", dependencies }));
    const lines = [
      `FROM ${name} AS packed`,
      "USER root",
      "RUN npm pack --ignore-scripts --pack-destination /tmp /usr/local/lib/node_modules/sessionmesh",
      `FROM ${name}`,
      "COPY --from=packed /tmp/sessionmesh-0.1.0.tgz ./",
      "COPY . .",
      "USER root",
      "RUN npm install --package-lock-only && npm ci",
      "USER node",
    ];
    writeFileSync(path.join(context, "Dockerfile"), lines.join("\n"));
    await build(`${name}:own`, context);
    expect(await answerOf(`${name}:own`)).toEqual({
      text: "Hello bob",
      from: "file:///srv/app/node_modules/sessionmesh/dist/node/sessionmesh.js",
    });
  });

  test("has a list of its npm packages where its label says, and adds less than 30 MB to Node's image", async () => {
    const label = '{{index .Config.Labels "sessionmesh.sbom"}}';
    const file = (await docker("image", "inspect", "-f", label, name)).trim();
    const sbom = JSON.parse(await docker("run", "--rm", "--entrypoint", "cat", name, file)) as {
      metadata: { component: { name: string } };
      components: { name: string }[];
    };
    expect(sbom.metadata.component.name).toBe("sessionmesh");
    const listed = sbom.components.map((one) => one.name);
    for (const one of ["ws", "@grpc/grpc-js"]) expect(listed).toContain(one);
    expect(listed).not.toContain("vitest");
    const base = /^FROM (\S+)$/m.exec(readFileSync(path.join(ROOT, "Dockerfile"), "utf8"))?.[1] ?? "";
    const sizes = (await docker("image", "inspect", "-f", "{{.Size}}", name, base)).trim().split("\n").map(Number);
    const addedMb = ((sizes[0] ?? 0) - (sizes[1] ?? 0)) / 1e6;
    console.log(`the image adds ${addedMb.toFixed(1)} MB to ${base}`);
    expect(addedMb).toBeLessThan(30);
    expect(
      await docker(
        "run",
        "--rm",
        "--entrypoint",
        "find",
        name,
        "/usr/local/lib/node_modules/sessionmesh",
        "-name",
        "*.node",
      ),
    ).toBe("");
  });

  /** Of the first session of a node that runs it, with nothing more than it needs. */
  async function answerOf(image: string): Promise<unknown> {
    const container = (
      await docker("run", "-d", ...locked, "-p", "127.0.0.1::8080", image, "app.ts", "--in-memory")
    ).trim();
    try {
      const address = (await docker("port", container, "8080")).trim();
      const answer = await eventually(() => fetch(`http://${address}/sessions/hello/bob`), UP_MS);
      expect(await docker("exec", container, "id", "-u")).toBe("1000\n");
      return await answer.json();
    } catch (error) {
      throw new Error(`${String(error)}\n${await docker("logs", container)}`, { cause: error });
    } finally {
      await docker("rm", "-f", "-v", container);
    }
  }
});
