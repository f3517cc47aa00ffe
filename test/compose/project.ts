// A compose project from the real docker-compose.yml and Dockerfile. All that differs is in an override file: free ports of the host, so that
// several may run beside each other, and the network of a build. Its name is its own, and `down` removes all that has it.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { list, parseJson, record, text } from "#proto";
import { isPortFree } from "../../cli/infra/port.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
/** A build fetches packages; nothing else takes so long. */
const COMMAND_MS = 180_000;
const OUTPUT_MAX = 16 * 2 ** 20;
/** As many as docker-compose.yml has. */
const PORTS = 10;
const PORT_FIRST = 20_000;
/** Below those that Linux gives to clients. */
const PORT_LAST = 32_000;
const PORT_TRIES = 50;

/** One container of the service `node`. */
export interface NodeContainer {
  /** Of the container, and as its host name that of the node. */
  readonly id: string;
  readonly name: string;
  readonly gateway: string;
}

export class ComposeProject {
  readonly name = `sessionmesh-test-${randomBytes(4).toString("hex")}`;
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "mesh-compose-"));
  readonly #override = path.join(this.#folder, "override.yml");

  private constructor(ports: string) {
    const node = { ports: "PORTS", build: { network: "host" } };
    // YAML's tag has no form in JSON: it replaces the ports of the file instead of adding to them.
    const yaml = JSON.stringify({ services: { node } }).replace('"PORTS"', `!override ["127.0.0.1:${ports}:8080"]`);
    writeFileSync(this.#override, yaml);
  }

  static async prepare(): Promise<ComposeProject> {
    return new ComposeProject(await freePorts());
  }

  /** What the command printed; rejects with it when it failed. */
  compose(...args: readonly string[]): Promise<string> {
    const files = ["-f", path.join(ROOT, "docker-compose.yml"), "-f", this.#override];
    return docker("compose", "--progress", "plain", "-p", this.name, ...files, ...args);
  }

  async scale(nodes: number): Promise<void> {
    await this.compose("up", "-d", "--no-recreate", "--no-build", "--scale", `node=${nodes}`);
  }

  /** Those that run, in the order of their names. */
  async nodes(): Promise<readonly NodeContainer[]> {
    const lines = (await this.compose("ps", "--format", "json", "node")).split("\n").filter((line) => line !== "");
    const nodes = lines.map((line) => {
      const value = parseJson(Buffer.from(line), "docker compose ps");
      const publishers = list(value["Publishers"], "Publishers").map((one) => record(one, "publisher"));
      const publisher = publishers.find((one) => one["PublishedPort"] !== 0);
      return {
        id: text(value["ID"], "ID").slice(0, 12),
        name: text(value["Name"], "Name"),
        gateway: `http://127.0.0.1:${String(publisher?.["PublishedPort"])}`,
      };
    });
    return nodes.toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }

  async down(): Promise<void> {
    try {
      await this.compose("down", "--timeout", "1", "--volumes", "--remove-orphans", "--rmi", "local");
    } finally {
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }
}

/** What the command printed; rejects with it when it failed. */
export async function docker(...args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)("docker", [...args], { timeout: COMMAND_MS, maxBuffer: OUTPUT_MAX });
    return stdout;
  } catch (cause) {
    const said = Object(cause);
    throw new Error(`docker ${args.join(" ")}: ${String(said.stdout)}\n${String(said.stderr)}`, { cause });
  }
}

/** A range of the host's, as `first-last`. */
async function freePorts(): Promise<string> {
  for (let attempt = 0; attempt < PORT_TRIES; attempt++) {
    const first = PORT_FIRST + Math.floor(Math.random() * (PORT_LAST - PORT_FIRST - PORTS));
    const ports = Array.from({ length: PORTS }, (_, at) => first + at);
    const free = await Promise.all(ports.map((port) => isPortFree(port)));
    if (!free.includes(false)) return `${first}-${first + PORTS - 1}`;
  }
  throw new Error(`the machine has no ${PORTS} free ports in a row`);
}
