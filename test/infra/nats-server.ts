// A real nats-server with JetStream for tests, on a free port of loopback: in a container where a Docker engine answers, else the one that is
// installed, killed by pid; MESH_TEST_NATS=installed takes that in any case. Starting one again on the port and the store of a killed one is a
// restart; on another store it is the loss of all data.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { natsInContainer, startNatsContainer } from "./nats-container.ts";

/** A server that is not ready by then will not be: Debian's starts in under 100 ms. */
const START_MS = 10_000;

export interface NatsServer {
  /** `nats://127.0.0.1:<port>`. */
  readonly url: string;
  readonly port: number;
  /** Survives `kill`, so that a restart finds its data. */
  readonly storeDir: string;
  /** Resolves once the server is gone; SIGSTOP and SIGCONT at once. Does nothing when it is gone already. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Kills it and deletes its store. */
  remove(): Promise<void>;
}

interface NatsOrder {
  readonly storeDir: string;
  readonly port: number | undefined;
  readonly jetStream: boolean;
}

let found: Promise<(order: NatsOrder) => Promise<Omit<NatsServer, "remove">>> | undefined;

/** Resolves when it accepts clients. */
export async function startNats(
  options: { storeDir?: string; port?: number; jetStream?: boolean } = {},
): Promise<NatsServer> {
  const storeDir = options.storeDir ?? (await mkdtemp(path.join(os.tmpdir(), "mesh-nats-")));
  found ??= find();
  const start = await found;
  const server = await start({ storeDir, port: options.port, jetStream: options.jetStream !== false });
  return {
    ...server,
    remove: async () => {
      await server.kill("SIGKILL");
      await rm(storeDir, { recursive: true, force: true });
    },
  };
}

/** Once a process, and says which. */
async function find(): Promise<typeof startInstalled> {
  const container = process.env["MESH_TEST_NATS"] === "installed" ? undefined : await natsInContainer();
  console.log(`NATS of these tests: ${container ?? "nats-server on PATH"}`);
  return container === undefined ? startInstalled : startNatsContainer;
}

async function startInstalled(order: NatsOrder): Promise<Omit<NatsServer, "remove">> {
  const { storeDir } = order;
  const jetStream = order.jetStream ? ["-js", "-sd", storeDir] : [];
  const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(order.port ?? -1), ...jetStream], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const killOnExit = (): void => void child.kill("SIGKILL");
  process.once("exit", killOnExit);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve())).then(() => {
    process.removeListener("exit", killOnExit);
  });
  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    if (signal === "SIGSTOP") await stopped(child.pid ?? 0);
    else if (signal !== "SIGCONT") await exited;
  };
  try {
    const port = await ready(child);
    return {
      url: `nats://127.0.0.1:${port}`,
      port,
      storeDir,
      kill,
    };
  } catch (error) {
    await kill("SIGKILL");
    throw error;
  }
}

/** The signal is only pending at first: a thread on another core may still answer a request. Resolves when every thread stands. */
async function stopped(pid: number): Promise<void> {
  for (;;) {
    const threads = await readdir(`/proc/${pid}/task`);
    const stats = await Promise.all(
      threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/stat`, "utf8").catch(() => "")),
    );
    // "pid (name) state ...": the name may hold spaces.
    if (stats.every((stat) => stat === "" || stat.slice(stat.lastIndexOf(")") + 2).startsWith("T"))) return;
  }
}

function ready(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const log: string[] = [];
    let port = 0;
    const timer = setTimeout(() => fail("is not ready"), START_MS);
    const fail = (what: string): void => {
      clearTimeout(timer);
      reject(new Error(`nats-server ${what}: ${log.join("\n")}`));
    };
    child.once("error", (error) => fail(`cannot be started (${error.message})`));
    child.once("exit", (code) => fail(`exited with ${code}`));
    if (child.stderr === null) return fail("has no stderr");
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (log.length < 100) log.push(line);
      const found = /Listening for client connections on .*:(\d+)$/.exec(line);
      if (found) port = Number(found[1]);
      if (line.includes("Server is ready")) {
        clearTimeout(timer);
        resolve(port);
      }
    });
  });
}
