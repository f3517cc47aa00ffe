// What faults happen to: a server that is started again when it dies, at the same port.

import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { readFileSync } from "node:fs";

export interface Subject extends AsyncDisposable {
  readonly port: number;
}

/** For both sides, so that a leak comes to its end in seconds. */
export const HEAP_MB = 1_024;
/**
 * A process that is larger is killed by the benchmark, as the kernel would do in a container of that size. Buffers are outside of the heap
 * that Node bounds.
 */
const RSS_MAX_BYTES = 2_000 * 1_024 * 1_024;
const RSS_LOOK_MS = 100;
const PAGE_BYTES = 4_096;

/** One that is free now. A mesh whose port the system picks loses it with its only worker. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Until it is disposed of. Does nothing where there is no /proc. */
export function boundMemory(pid: () => number): Disposable {
  const timer = setInterval(() => {
    try {
      const [, pages] = readFileSync(`/proc/${pid()}/statm`, "utf8").split(" ");
      if (Number(pages) * PAGE_BYTES > RSS_MAX_BYTES) process.kill(pid(), "SIGKILL");
    } catch {
      // It has just ended.
    }
  }, RSS_LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
