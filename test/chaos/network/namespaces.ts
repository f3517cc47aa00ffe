// Places as network namespaces. Each has a virtual cable to a bridge; the bridge is in a namespace of its own, where nftables drops what a
// test wants dropped, so neither the nodes nor this machine's own network see a rule. Names begin with the pid of the test: what a
// killed test left behind is removed by the next. Needs root, iproute2 and nftables.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import { seeded } from "../../cluster/seeded.ts";
import type { Cut, Network, Place, Weather } from "./port.ts";
import { openWire, type Wire } from "./wire.ts";

const PREFIX = "mesh-chaos-";
/** For our cable to the bridge: names of interfaces have 15 characters at most. */
const CABLE = "mc";
/** 198.18.0.0/15 is set aside for tests of networks; one of its first 256 blocks is ours. */
const BLOCKS = 256;
const HUB = "hub";

/** Why there can be no namespaces, or undefined. */
export function whyNoNamespaces(): string | undefined {
  if (process.platform !== "linux") return `${process.platform} has no network namespaces`;
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const [tool, packageName] of [
    ["ip", "iproute2"],
    ["nft", "nftables"],
  ] as const) {
    if (!has(tool)) return `${tool} is not installed (apt-get install ${packageName})`;
  }
  return undefined;
}

/** Why frames cannot be carried by this process, or undefined. */
function whyNoTaps(): string | undefined {
  if (!existsSync("/dev/net/tun")) return "there is no /dev/net/tun";
  return has("perl") ? undefined : "perl is not installed";
}

function netemArgs({ delayMs, jitterMs, lossPercent }: Weather): string[] {
  return ["delay", `${delayMs}ms`, `${jitterMs}ms`, "loss", `${lossPercent}%`];
}

/** Throws what the failed command said; nothing is left then. */
export function openNamespaces(): Network {
  removeStale();
  const block = freeBlock();
  const nameOf = (place: string): string => `${PREFIX}${process.pid}-${place}`;
  const hub = nameOf(HUB);
  const cable = `${CABLE}${process.pid}`;
  const portOf = (place: Place): string => `p-${place.name}`;
  const places: Place[] = [];
  const wires = new Map<string, Wire>();
  const close = (): void => {
    process.removeListener("exit", close);
    for (const wire of wires.values()) wire.close();
    // The cables go with the namespaces at their ends.
    for (const name of [...places.map((place) => nameOf(place.name)), hub]) removeNamespace(name);
  };
  process.once("exit", close);
  const plug = (port: string, bridge = "br0"): void => {
    run("ip", ["-n", hub, "link", "set", port, "master", bridge]);
    run("ip", ["-n", hub, "link", "set", port, "up"]);
  };
  const impose = (cuts: readonly Cut[]): void => {
    const rules = cuts.map(({ from, to }) => `ip saddr ${from} ip daddr ${to} drop`);
    // One transaction: there is no moment without rules.
    const table = [
      "table bridge chaos {",
      "chain forward {",
      "type filter hook forward priority 0",
      ...rules,
      "}",
      "}",
    ];
    const script = ["table bridge chaos", "delete table bridge chaos", ...table].join("\n");
    run("nsenter", [`--net=/run/netns/${hub}`, "nft", "-f", "-"], `${script}\n`);
  };

  try {
    run("ip", ["netns", "add", hub]);
    run("ip", ["-n", hub, "link", "add", "br0", "type", "bridge"]);
    run("ip", ["-n", hub, "link", "set", "br0", "up"]);
    run("ip", ["link", "add", cable, "type", "veth", "peer", "name", "p-test", "netns", hub]);
    plug("p-test");
    run("ip", ["address", "add", `198.18.${block}.1/24`, "dev", cable]);
    run("ip", ["link", "set", cable, "up"]);
    impose([]);
  } catch (error) {
    close();
    throw error;
  }
  const hasNetem = works("tc", ["-n", hub, "qdisc", "add", "dev", "p-test", "root", "netem", "delay", "0ms"]);
  if (hasNetem) run("tc", ["-n", hub, "qdisc", "del", "dev", "p-test", "root"]);
  const whyNoWires = hasNetem ? undefined : whyNoTaps();

  /** In one direction each. */
  const netem = (place: Place, weather: Weather | undefined): void => {
    for (const [where, device] of [
      [hub, portOf(place)],
      [nameOf(place.name), "eth0"],
    ] as const) {
      const how = weather === undefined ? ["del", "dev", device, "root"] : ["replace", "dev", device, "root", "netem"];
      run("tc", ["-n", where, "qdisc", ...how, ...(weather === undefined ? [] : netemArgs(weather))]);
    }
  };
  /** The cable ends at a bridge of its own then, and a wire leads on from there. */
  const rewire = async (place: Place, weather: Weather | undefined, seed: number): Promise<void> => {
    const own = `b-${place.name}`;
    const ends = [`i-${place.name}`, `o-${place.name}`] as const;
    wires.get(place.name)?.close();
    if (wires.delete(place.name)) {
      plug(portOf(place));
      run("ip", ["-n", hub, "link", "del", own]);
    }
    if (weather === undefined) return;
    const under = ["nsenter", `--net=/run/netns/${hub}`];
    wires.set(place.name, await openWire(ends, { under }, weather, seeded(seed)));
    run("ip", ["-n", hub, "link", "add", own, "type", "bridge"]);
    run("ip", ["-n", hub, "link", "set", own, "up"]);
    plug(ends[0], own);
    plug(ends[1]);
    plug(portOf(place), own);
  };

  return {
    kind: "namespaces",
    remarks: [
      hasNetem
        ? "packets are late and lost by sch_netem"
        : `this kernel has no sch_netem: packets ${whyNoWires === undefined ? "are late and lost by way of TAP devices" : `are neither late nor lost, for ${whyNoWires}`}`,
    ],
    weatherBy: hasNetem ? "sch_netem" : whyNoWires === undefined ? "TAP devices" : undefined,
    add(name) {
      const place: Place = {
        name,
        address: `198.18.${block}.${places.length + 2}`,
        under: ["nsenter", `--net=/run/netns/${nameOf(name)}`],
      };
      const there = ["-n", nameOf(name)];
      places.push(place);
      run("ip", ["netns", "add", nameOf(name)]);
      run("ip", [...there, "link", "add", "eth0", "type", "veth", "peer", "name", portOf(place), "netns", hub]);
      plug(portOf(place));
      run("ip", [...there, "address", "add", `${place.address}/24`, "dev", "eth0"]);
      for (const device of ["lo", "eth0"]) run("ip", [...there, "link", "set", device, "up"]);
      return place;
    },
    impose,
    cable: (place, state) => run("ip", ["-n", hub, "link", "set", portOf(place), state]),
    async weather(place, weather, seed) {
      if (hasNetem) netem(place, weather);
      else await rewire(place, weather, seed);
    },
    close,
  };
}

/** What tests left behind that are dead: processes in their namespaces first, which would keep them. */
function removeStale(): void {
  for (const line of output("ip", ["netns", "list"]).split("\n")) {
    const [name = ""] = line.split(" ");
    const pid = /^mesh-chaos-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    for (const left of output("ip", ["netns", "pids", name]).split("\n")) {
      if (left === "") continue;
      try {
        process.kill(Number(left), "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    removeNamespace(name);
  }
}

function removeNamespace(name: string): void {
  if (existsSync(`/run/netns/${name}`)) works("ip", ["netns", "delete", name]);
}

/** Two tests that start at once begin to look at different places. */
function freeBlock(): number {
  const used = new Set(Object.values(os.networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address)));
  for (let tried = 0; tried < BLOCKS; tried++) {
    const block = (process.pid + tried) % BLOCKS;
    if (!used.has(`198.18.${block}.1`)) return block;
  }
  throw new Error("no block of 198.18.0.0/16 is free");
}

function run(command: string, args: readonly string[], input = ""): void {
  execFileSync(command, args, { input, stdio: ["pipe", "ignore", "pipe"] });
}

function output(command: string, args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function works(command: string, args: readonly string[]): boolean {
  try {
    run(command, args);
    return true;
  } catch {
    return false;
  }
}

function has(tool: string): boolean {
  return ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].some((folder) => existsSync(`${folder}/${tool}`));
}
