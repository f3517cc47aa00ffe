// NATS in places of the test's network: one server, or three that replicate. It can be killed, wiped, and its disk filled.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Place } from "./network/port.ts";

/** Not the usual ones, which a server of this machine may hold on every address. */
const CLIENT_PORT = 24_222;
const CLUSTER_PORT = 26_222;
const READY_MS = 15_000;
/** A disk that is full after a few MB; the registry of a small mesh needs a fraction of one. */
const DISK_MIB = 16;
const BALLAST_BYTES = 65_536;
/** Of what servers log: the beginning explains a failure. */
const LINES_MAX = 100;

/** Replicas lose acknowledged compare-and-sets before this; the mesh refuses them. */
const REPLICATES_FROM = [2, 11] as const;

export interface PlacedNats {
  readonly version: string;
  /** For NATS_URL. */
  readonly urls: string;
  readonly places: readonly Place[];
  /** Which of several leads what the bucket is stored in: the others take its writes only through it. */
  leader(bucket: string): Promise<number>;
  /** All of them when `which` is missing. */
  kill(which?: number): Promise<void>;
  start(which?: number): Promise<void>;
  /** Deletes what killed servers have stored. */
  wipe(): void;
  /** Undefined when its disk is no small one of its own. */
  readonly disk: { fill(): void; free(): void } | undefined;
  close(): Promise<void>;
}

/** A nats-server to run. */
export interface NatsProgram {
  readonly command: string;
  readonly version: string;
}

export function installedNats(): NatsProgram {
  return programOf("nats-server");
}

/** One whose replicas the mesh takes: the installed one, or the one that NATS_SERVER names. Else why there is none. */
export function replicatingNats(): NatsProgram | string {
  const other = process.env["NATS_SERVER"];
  const programs = [installedNats(), ...(other === undefined || other === "" ? [] : [programOf(other)])];
  const from = REPLICATES_FROM.join(".");
  return (
    programs.find(replicates) ??
    `the mesh takes replicas from nats-server ${from} on, and this one is ${programs.at(-1)?.version}: NATS_SERVER may name another`
  );
}

function programOf(command: string): NatsProgram {
  const said = execFileSync(command, ["--version"], { encoding: "utf8" });
  return { command, version: /v(\d+\.\d+\.\d+)/.exec(said)?.[1] ?? "0.0.0" };
}

function replicates({ version }: NatsProgram): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [fromMajor, fromMinor] = REPLICATES_FROM;
  return major > fromMajor || (major === fromMajor && minor >= fromMinor);
}

/** @param smallDisk mount a small file system for the store; needs root */
export async function startPlacedNats(
  program: NatsProgram,
  places: readonly Place[],
  options: { smallDisk: boolean },
): Promise<PlacedNats> {
  removeStale();
  const folder = mkdtempSync(path.join(os.tmpdir(), `mesh-chaos-${process.pid}-`));
  const disk = options.smallDisk && mountDisk(folder);
  const ballast = path.join(folder, "ballast");
  const storeOf = (at: number): string => path.join(folder, `store${at}`);
  const running: (ChildProcess | undefined)[] = places.map(() => undefined);
  const everyone = places.map((_, at) => at);

  const kill = async (which?: number): Promise<void> => {
    for (const at of which === undefined ? everyone : [which]) {
      const child = running[at];
      running[at] = undefined;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  };
  const startOne = async (at: number): Promise<void> => {
    const place = places[at];
    if (place === undefined || running[at] !== undefined) return;
    const store = storeOf(at);
    mkdirSync(store, { recursive: true });
    const routes = places.map(({ address }) => `nats://${address}:${CLUSTER_PORT}`).join(",");
    const cluster = [
      "--name",
      place.name,
      "--cluster_name",
      "chaos",
      "--cluster",
      `nats://${place.address}:${CLUSTER_PORT}`,
    ];
    const [command = "", ...args] = [
      ...place.under,
      program.command,
      ...["-a", place.address, "-p", String(CLIENT_PORT), "-js", "-sd", store],
      ...(places.length > 1 ? [...cluster, "--routes", routes] : []),
    ];
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    running[at] = child;
    await ready(child);
  };
  const killOnExit = (): void => {
    for (const child of running) child?.kill("SIGKILL");
    if (disk) unmount(folder);
  };
  process.once("exit", killOnExit);
  const urls = places.map(({ address }) => `nats://${address}:${CLIENT_PORT}`);
  const nats: PlacedNats = {
    version: program.version,
    urls: urls.join(","),
    places,
    kill,
    leader: async (bucket) => {
      const name = await leaderOf(`KV_${bucket}`, urls);
      if (places.length === 1) return 0;
      const at = places.findIndex((place) => place.name === name);
      if (at < 0) throw new Error(`no server leads the bucket ${bucket}`);
      return at;
    },
    start: async (which) => void (await Promise.all((which === undefined ? everyone : [which]).map(startOne))),
    wipe: () => everyone.forEach((at) => rmSync(storeOf(at), { recursive: true, force: true })),
    disk: disk ? { fill: () => fill(ballast), free: () => rmSync(ballast, { force: true }) } : undefined,
    async close() {
      await kill();
      process.removeListener("exit", killOnExit);
      if (disk) unmount(folder);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await nats.start();
    return nats;
  } catch (error) {
    await nats.close();
    throw error;
  }
}

async function leaderOf(stream: string, servers: string[]): Promise<string | undefined> {
  const link = await connect({ servers });
  try {
    const { cluster } = await (await jetstreamManager(link)).streams.info(stream);
    return cluster?.leader;
  } finally {
    await link.close();
  }
}

async function ready(child: ChildProcess): Promise<void> {
  const { stderr } = child;
  if (stderr === null) throw new Error("nats-server has no stderr");
  const log: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string): void => reject(new Error(`nats-server ${why}: ${log.join("\n")}`));
    const timer = setTimeout(() => fail("is not ready"), READY_MS);
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code) => fail(`ended with ${code}`));
    createInterface({ input: stderr }).on("line", (line) => {
      if (log.length < LINES_MAX) log.push(line);
      if (!line.includes("Server is ready")) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Disks and stores of tests that were killed. */
function removeStale(): void {
  for (const name of readdirSync(os.tmpdir())) {
    const pid = /^mesh-chaos-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const folder = path.join(os.tmpdir(), name);
    unmount(folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

function mountDisk(folder: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "mesh-chaos", folder], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function unmount(folder: string): void {
  try {
    // Lazily: a server that was killed a moment ago may still be there.
    execFileSync("umount", ["--lazy", folder], { stdio: "ignore" });
  } catch {
    // Not mounted any more.
  }
}

/** Writes until the disk takes no more. */
function fill(file: string): void {
  const handle = openSync(file, "w");
  try {
    for (let written = 1; written > 0;) written = writeSync(handle, Buffer.alloc(BALLAST_BYTES));
  } catch {
    // ENOSPC is the purpose.
  } finally {
    closeSync(handle);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
