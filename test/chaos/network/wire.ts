// A stretch of wire in user space, for kernels without sch_netem: two TAP devices, and this process between them, which keeps frames back,
// loses them and changes their order as a seed draws. Perl opens the devices, for Node has no ioctl, and carries frames to and fro.

import { spawn } from "node:child_process";
import path from "node:path";
import type { Draws } from "../../cluster/seeded.ts";
import type { Place, Weather } from "./port.ts";

const TAPS = path.join(import.meta.dirname, "taps.pl");
/** Which device, and the length of what follows. */
const HEADER_BYTES = 3;
/** Frames on their way at once; more than a node sends in the longest delay. Beyond it they are lost, as in any full queue. */
const UNDER_WAY_MAX = 10_000;

export interface Wire {
  /** What is on its way is lost. */
  close(): void;
}

/**
 * @param devices names of the two, which exist from then on, and end with the wire
 * @param under what a command has to begin with to run where they shall be
 */
export async function openWire(
  devices: readonly [string, string],
  { under }: Pick<Place, "under">,
  weather: Weather,
  draws: Draws,
): Promise<Wire> {
  const [command, ...args] = [...under, "perl", TAPS, ...devices];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const opened = Promise.withResolvers<void>();
  child.once("error", opened.reject);
  child.once("exit", (code) => opened.reject(new Error(`no TAP devices: perl ended with ${code}`)));
  // It ends before what is written to it when the wire is closed.
  child.stdin.on("error", () => {});
  const underWay = new Set<NodeJS.Timeout>();
  const carry = (frame: Buffer): void => {
    if (draws.next() * 100 < weather.lossPercent || underWay.size >= UNDER_WAY_MAX) return;
    const delayMs = weather.delayMs + (draws.next() * 2 - 1) * weather.jitterMs;
    const timer = setTimeout(() => {
      underWay.delete(timer);
      child.stdin.write(frame);
    }, delayMs);
    underWay.add(timer);
  };
  let input = Buffer.alloc(0);
  child.stdout.on("data", (chunk: Buffer) => {
    input = Buffer.concat([input, chunk]);
    while (input.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + input.readUInt16BE(1);
      if (input.length < end) break;
      const frame = Buffer.from(input.subarray(0, end));
      input = input.subarray(end);
      if (end === HEADER_BYTES) {
        opened.resolve();
        continue;
      }
      // In at one end, out at the other.
      frame[0] = 1 - (frame[0] ?? 0);
      carry(frame);
    }
  });
  await opened.promise;
  return {
    close() {
      for (const timer of underWay) clearTimeout(timer);
      child.kill("SIGKILL");
    },
  };
}
