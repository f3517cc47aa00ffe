// Starts the plain server, and starts it again when it has died or says nothing any more, as a good supervisor would.

import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { end, firstLine } from "../process.ts";
import { ask } from "./client.ts";
import { HEAP_MB, type Subject } from "./subject.ts";

const SERVER = fileURLToPath(new URL("../controls/faults.ts", import.meta.url));
/** For the classes that it takes from the examples. */
const OWN_NAME = new URL("../../node/own-name.ts", import.meta.url).href;
const ALIVE_EVERY_MS = 250;
/** What a mesh gives its workers: the turn budget and 3 s. Most supervisors take longer. */
const SILENCE_MAX_MS = 4_000;

export async function startControl(port: number): Promise<Subject> {
  let closed = false;
  let heardMs = 0;
  let child: ChildProcess;
  const start = (): ChildProcess => {
    heardMs = performance.now();
    child = spawn(process.execPath, ["--import", OWN_NAME, `--max-old-space-size=${HEAP_MB}`, SERVER, String(port)], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    child.once("exit", () => {
      if (!closed) start();
    });
    return child;
  };
  let asking = false;
  const askAlive = async (): Promise<void> => {
    asking = true;
    // Aborted, or a connection that nobody takes would be waited for longer than the process lives.
    const answer = await ask(port, "/alive", { signal: AbortSignal.timeout(SILENCE_MAX_MS) });
    if (answer !== undefined) heardMs = performance.now();
    asking = false;
  };
  const ready = start();
  await firstLine(ready, "the faults control", { quiet: true });
  const watch = setInterval(() => {
    if (performance.now() - heardMs > SILENCE_MAX_MS) child.kill("SIGKILL");
    else if (!asking) void askAlive();
  }, ALIVE_EVERY_MS);
  return {
    port,
    async [Symbol.asyncDispose]() {
      closed = true;
      clearInterval(watch);
      await end(child, "SIGKILL");
    },
  };
}
