// Dockerfile and docker-compose.yml against the tree: what they name must exist, and what they repeat must agree. No engine needed.

import { existsSync, globSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Script } from "node:vm";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { configDefaults, configFromEnv } from "#node";

const root = path.join(import.meta.dirname, "..");
const read = (file: string) => readFileSync(path.join(root, file), "utf8");

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly command?: string[];
  readonly environment?: Record<string, string>;
  readonly ports?: string[];
  readonly volumes?: string[];
  readonly healthcheck?: { readonly test: string[] };
  readonly stop_grace_period?: string;
  readonly read_only?: boolean;
  readonly tmpfs?: string;
  readonly init?: boolean;
  readonly depends_on?: Record<string, { readonly condition: string }>;
}

const compose = parse(read("docker-compose.yml")) as {
  readonly services: Record<"nats" | "redis" | "node", Service>;
  readonly volumes: Record<string, unknown>;
};
const { nats, redis, node } = compose.services;

/** Instructions in order, continued lines joined. */
const instructions = read("Dockerfile")
  .replaceAll(/^#.*\n/gm, "")
  .replaceAll("\\\n", " ")
  .split("\n")
  .filter((line) => line.trim() !== "")
  .map((line) => ({ name: line.split(" ", 1)[0] ?? "", rest: line.slice(line.indexOf(" ") + 1).trim() }));
const lines = (name: string) => instructions.filter((line) => line.name === name).map((line) => line.rest);
const last = (name: string) => lines(name).at(-1) ?? "";

/** `${NAME:-default}` as compose fills it in when NAME is not set. */
const filled = (text: string) => text.replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1");
const environment = Object.fromEntries(
  Object.entries(node.environment ?? {}).map(([key, value]) => [key, filled(value)]),
);

/** Names of environment variables in the source of a node and of the command that starts it. */
const readByNode = new Set(
  globSync("{cli,node}/**/*.ts", { cwd: root }).flatMap(
    (file) => read(file).match(/\b(MESH_[A-Z_]+|NATS_URL|REDIS_URL)\b(?=")/g) ?? [],
  ),
);

describe("the image", () => {
  test("is built on the Node that the tests run on", () => {
    const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
    expect(new Set(lines("FROM").map((line) => line.split(" ", 1)[0]))).toEqual(
      new Set([`node:${devDependencies["node"]}-slim`]),
    );
  });

  test("copies only what exists and what the build context holds", () => {
    const ignored = read(".dockerignore")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    const sources = lines("COPY")
      .filter((line) => !line.startsWith("--from="))
      .flatMap((line) => line.split(/\s+/).slice(0, -1));
    expect(sources).toContain("cli");
    for (const source of sources) {
      expect(existsSync(path.join(root, source)), source).toBe(true);
      expect(ignored).not.toContain(source);
    }
  });

  test("builds with every folder that the code in it imports from", () => {
    const copied = new Set(lines("COPY").flatMap((line) => line.split(/\s+/).slice(0, -1)));
    const { imports } = JSON.parse(read("package.json")) as { imports: Record<string, string> };
    for (const target of Object.values(imports)) expect(copied).toContain(target.split("/")[1]);
    const { include } = JSON.parse(read("tsconfig.build.json")) as { include: string[] };
    for (const folder of include) expect(copied).toContain(folder);
  });

  test("holds what the package has, where npm would install it for all", () => {
    const { bin, files } = JSON.parse(read("package.json")) as { bin: { mesh: string }; files: string[] };
    const installed = "/usr/local/lib/node_modules/sessionmesh/";
    const targets = lines("COPY").map((line) => line.split(/\s+/).at(-1) ?? "");
    for (const file of files) expect(targets).toContain(`${installed}${file}`);
    const links = lines("RUN").join(" ");
    expect(links).toContain(`ln -s ../lib/node_modules/sessionmesh/${bin.mesh} /usr/local/bin/mesh`);
    expect(links).toContain(`ln -s ${installed.slice(0, -1)} /node_modules/sessionmesh`);
  });

  test("starts a command that the CLI has, on the application in its folder", () => {
    expect(JSON.parse(last("ENTRYPOINT"))).toEqual(["mesh", "node"]);
    expect(read("cli/program.ts")).toContain('.command("node")');
    expect(last("WORKDIR")).toBe("/srv/app");
    expect(lines("COPY")).toContain("examples/hello/app.ts /srv/app/");
    expect(JSON.parse(last("CMD"))).toEqual(["app.ts"]);
  });

  test("says its version, and where the list of its packages is", () => {
    const { version } = JSON.parse(read("package.json")) as { version: string };
    expect(last("LABEL")).toContain(`org.opencontainers.image.version="${version}"`);
    const sbom = /sessionmesh\.sbom="([^"]+)"/.exec(last("LABEL"))?.[1] ?? "";
    expect(lines("COPY").map((line) => line.split(/\s+/).at(-1))).toContain(`${path.dirname(sbom)}/`);
    expect(lines("RUN").join(" ")).toContain(`> ${path.basename(sbom)}`);
  });

  test("brings no compiled code, so that it is the same on every architecture", () => {
    const { packages } = JSON.parse(read("package-lock.json")) as {
      packages: Record<string, { dev?: boolean; optional?: boolean; os?: string[]; cpu?: string[] }>;
    };
    const shipped = Object.entries(packages).filter(([, { dev }]) => dev !== true);
    expect(shipped.filter(([, { os, cpu }]) => os !== undefined || cpu !== undefined)).toEqual([]);
  });

  test("does not run as root and stops by the signal that drains", () => {
    expect(last("USER")).toBe("node");
    expect(last("STOPSIGNAL")).toBe("SIGTERM");
    expect(read("cli/node.ts")).toMatch(/"SIGTERM", \(\) => stop\("drain"/);
  });

  test("exposes the gateway's default port and asks it for its health at a path that it serves", () => {
    expect(last("EXPOSE")).toBe(String(configDefaults.port));
    expect(last("ENV")).toContain(`MESH_PORT=${configDefaults.port}`);
    const health = last("HEALTHCHECK");
    const asked = /127\.0\.0\.1:\$\{process\.env\.MESH_PORT\}(\/[\w/]+)`/.exec(health)?.[1];
    expect(asked).toBeDefined();
    expect(globSync("node/gateway/**/*.ts", { cwd: root }).some((file) => read(file).includes(`"${asked}"`))).toBe(
      true,
    );
    const [command, flag, script = ""] = JSON.parse(health.slice(health.indexOf("CMD ") + 4)) as string[];
    expect([command, flag]).toEqual(["node", "-e"]);
    expect(() => new Script(script)).not.toThrow();
  });

  test("sets only variables that a node reads", () => {
    const names = lines("ENV").flatMap((line) => [...line.matchAll(/(\w+)=/g)].map(([, name]) => name ?? ""));
    for (const name of names) if (!["NODE_ENV", "PATH"].includes(name)) expect(readByNode).toContain(name);
  });
});

describe("docker compose", () => {
  test("gives a node only variables that it reads, with values that it takes", () => {
    for (const name of Object.keys(environment)) expect(readByNode, name).toContain(name);
    expect(configFromEnv(environment, "app.ts").registry).toEqual({ kind: "nats", url: "nats://nats:4222" });
  });

  test("names servers that are services here", () => {
    for (const url of [environment["NATS_URL"], environment["REDIS_URL"]]) {
      if (url !== undefined) expect(Object.keys(compose.services)).toContain(new URL(url).hostname);
    }
  });

  test("scales without an edit: no fixed name, and a range of host ports for one port of the node", () => {
    for (const key of ["container_name", "hostname", "network_mode"]) expect(node).not.toHaveProperty(key);
    for (const name of ["MESH_NODE", "MESH_HOST", "MESH_MACHINE"]) expect(environment).not.toHaveProperty(name);
    for (const mapping of node.ports ?? []) {
      const [, first, end, inside] = /^(\d+)-(\d+):(\d+)$/.exec(mapping) ?? [];
      expect(Number(inside)).toBe(configDefaults.port);
      expect(Number(end) - Number(first)).toBeGreaterThanOrEqual(4);
    }
    expect(node.ports).toHaveLength(1);
  });

  test("waits longer before it kills than a node may take to drain", () => {
    const graceMs = Number(/^(\d+)s$/.exec(node.stop_grace_period ?? "")?.[1]) * 1_000;
    expect(graceMs).toBeGreaterThan(configFromEnv(environment, "app.ts").drainMs);
    expect(graceMs).toBeGreaterThan(configDefaults.drainMs);
  });

  test("gives a node nothing to write but its sockets, and a process that reaps what its workers leave behind", () => {
    expect(node).toMatchObject({ init: true, read_only: true, tmpfs: "/tmp" });
    expect(configFromEnv(environment, "app.ts").socketDir).toBe(os.tmpdir());
  });

  test("logs for people unless it is asked for JSON", () => {
    expect(configFromEnv(environment, "app.ts").log).toBe("text");
    expect(node.environment?.["MESH_LOG"]).toBe("${MESH_LOG:-text}");
  });

  test("starts nodes only when what they need is healthy", () => {
    for (const [name, { condition }] of Object.entries(node.depends_on ?? {})) {
      expect(condition).toBe("service_healthy");
      expect(compose.services[name as "nats" | "redis"].healthcheck?.test[0]).toBe("CMD");
    }
    expect(Object.keys(node.depends_on ?? {})).toEqual(["nats", "redis"]);
  });

  test("runs NATS with JetStream, and asks the monitoring port that it opens", () => {
    expect(nats.command?.slice(0, 3)).toEqual(["-js", "-sd", "/data"]);
    const port = nats.command?.[nats.command.indexOf("-m") + 1];
    expect(nats.healthcheck?.test.at(-1)).toBe(`http://127.0.0.1:${port}/healthz`);
  });

  test("keeps what NATS and Redis store in volumes that it declares", () => {
    for (const service of [nats, redis]) {
      const [volume = "", inside] = (service.volumes?.[0] ?? "").split(":");
      expect(compose.volumes).toHaveProperty(volume);
      expect(inside).toBe("/data");
    }
  });

  test("takes the same images as `mesh up` does", () => {
    const images = globSync("cli/**/*.ts", { cwd: root }).flatMap(
      (file) => read(file).match(/"(nats|redis):[\w.-]+"/g) ?? [],
    );
    expect(images).toContain(JSON.stringify(nats.image));
    expect(images).toContain(JSON.stringify(redis.image));
  });

  test("builds the image here and runs an application that exists", () => {
    expect(node.build).toBe(".");
    expect((node.command ?? []).map(filled)).toEqual(JSON.parse(last("CMD")));
  });
});
