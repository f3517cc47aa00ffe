// Imports only point right: node -> mesh -> placement -> proto. Folders meet at facades, and one adapter file talks to each outside
// system. The linter says the same while you type; this reads every import and follows it to the folder where it ends.

import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";

const root = path.join(import.meta.dirname, "..");

/** What each folder may import through a facade. */
const facades: Readonly<Record<string, readonly string[]>> = {
  proto: [],
  placement: ["#proto"],
  mesh: ["#proto", "#placement"],
  node: ["#proto", "#placement", "#mesh"],
  cli: ["#proto", "#mesh", "#node"],
  examples: ["sessionmesh"],
};

/** Packages that stand for an outside system, and the only files that may import them. */
const adapters: readonly { readonly system: RegExp; readonly files: RegExp }[] = [
  { system: /^@nats-io\//, files: /^mesh\/nats\/(link|connection|bucket)\.ts$/ },
  { system: /^@grpc\//, files: /^mesh\/link\/grpc-(client|server)\.ts$/ },
  { system: /^ioredis$/, files: /^node\/([\w-]+\/)*[\w-]*redis[\w-]*\.ts$/ },
];

const IMPORT = /\bfrom\s*"([^"]+)"|\bimport\s*\(?\s*"([^"]+)"/g;

function importsOf(source: string): string[] {
  const code = source.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, "");
  return [...code.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? "");
}

/** What is wrong with an import of `file`, or undefined. */
function fault(file: string, specifier: string): string | undefined {
  const folder = file.split("/")[0] ?? "";
  const allowed = facades[folder];
  if (allowed === undefined) return undefined;
  if (specifier.startsWith(".")) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    return target.startsWith(`${folder}/`) ? undefined : `${file} reaches into ${target}: import the facade`;
  }
  if (specifier.startsWith("#") || specifier === "sessionmesh") {
    return allowed.includes(specifier) ? undefined : `${file} may not import ${specifier}`;
  }
  const adapter = adapters.find(({ system }) => system.test(specifier));
  if (adapter !== undefined && !adapter.files.test(file)) return `${file} is not the adapter that imports ${specifier}`;
  return undefined;
}

function faults(file: string, source: string): string[] {
  return importsOf(source).flatMap((specifier) => fault(file, specifier) ?? []);
}

const files = globSync(
  Object.keys(facades).map((folder) => `${folder}/**/*.ts`),
  { cwd: root },
).map((file) => file.split(path.sep).join("/"));

test("every import of the tree points to the right", () => {
  expect(files.length).toBeGreaterThan(20);
  expect(files.flatMap((file) => faults(file, readFileSync(path.join(root, file), "utf8")))).toEqual([]);
});

test("three files talk to NATS, one to Redis and two to gRPC", () => {
  const users = (system: RegExp) =>
    files.filter((file) => importsOf(readFileSync(path.join(root, file), "utf8")).some((name) => system.test(name)));
  expect(users(/^@nats-io\//).length).toBeLessThanOrEqual(3);
  expect(users(/^ioredis$/).length).toBeLessThanOrEqual(1);
  expect(users(/^@grpc\//).length).toBeLessThanOrEqual(2);
});

describe("the check sees", () => {
  test.each([
    ["proto/view.ts", 'import { hash } from "#placement";'],
    ["placement/rendezvous.ts", 'import type { Kv } from "#mesh";'],
    ["placement/rendezvous.ts", 'import type { Kv } from "../mesh/kv/port.ts";'],
    ["mesh/router.ts", 'import { configFromEnv } from "#node";'],
    ["mesh/link/stream.ts", 'import { MeshError } from "../../proto/error.ts";'],
    ["mesh/router.ts", 'export { MeshError } from "../proto/error.ts";'],
    ["mesh/router.ts", 'const kv = await import("@nats-io/kv");'],
    ["mesh/router.ts", 'import "sessionmesh";'],
    ["node/primary/main.ts", 'import { connect } from "@nats-io/transport-node";'],
    ["node/session/host.ts", 'import { Redis } from "ioredis";'],
    ["node/gateway.ts", 'import {\n  Server,\n} from "@grpc/grpc-js";'],
    ["cli/mesh.ts", 'import { partitionOf } from "#placement";'],
    ["examples/hello/app.ts", 'import { MeshError } from "#proto";'],
  ])("a wrong import in %s: %s", (file, source) => {
    expect(faults(file, source)).toHaveLength(1);
  });

  test.each([
    ["node/gateway.ts", 'import { Router } from "#mesh";'],
    ["mesh/link/stream.ts", 'import { SessionCall } from "../call.ts";'],
    ["mesh/nats/connection.ts", 'import { connect } from "@nats-io/transport-node";'],
    ["node/storage/redis.ts", 'import { Redis } from "ioredis";'],
    ["proto/error.ts", '// import { hash } from "#placement";'],
    ["examples/hello/app.ts", 'import { defineMesh } from "sessionmesh";'],
  ])("nothing wrong in %s: %s", (file, source) => {
    expect(faults(file, source)).toEqual([]);
  });
});
