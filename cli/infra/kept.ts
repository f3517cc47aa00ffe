// The launcher's end of a keeper (../keeper.ts): starts it, waits until the server in its hands is ready, and ends it. The
// keeper has a process group of its own, so that Ctrl-C in a terminal reaches the launcher alone and the order of the end is kept.

import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MeshError } from "#proto";
import { readReport, type KeeperOrder } from "./keeper-talk.ts";

/** A server in a keeper's hands. */
export interface Kept {
  readonly port: number;
  readonly pid: number;
  readonly keeperPid: number;
  readonly lost: Promise<string>;
  readonly stop: () => Promise<void>;
}

/** JetStream reads its whole store at start; a kept one may be large. */
const START_MS = 20_000;
/** A little more than the keeper gives its server, so that the keeper's own SIGKILL comes first. */
const STOP_MS = 4_000;

const KEEPER = fileURLToPath(new URL("../keeper.ts", import.meta.url));

/** Throws with the end of the server's output when it does not get ready; then nothing is left behind. */
export async function startKept(order: KeeperOrder): Promise<Kept> {
  const keeper = spawn(process.execPath, [KEEPER, JSON.stringify(order)], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const exited = new Promise<void>((resolve) => keeper.once("exit", () => resolve()).once("error", () => resolve()));
  // A keeper that is gone has closed its stdin: the write end says so, and "exit" tells the story already.
  keeper.stdin.on("error", () => {});

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopping ??= endKeeper());
  async function endKeeper(): Promise<void> {
    keeper.stdin.end();
    const timer = setTimeout(killGroup, STOP_MS);
    await exited;
    clearTimeout(timer);
    killGroup();
    if (order.removeDir !== "") rmSync(order.removeDir, { recursive: true, force: true });
  }
  function killGroup(): void {
    try {
      if (keeper.pid !== undefined) process.kill(-keeper.pid, "SIGKILL");
    } catch {
      // ESRCH: the group is empty, which is what we want.
    }
  }

  const lines = createInterface({ input: keeper.stdout });
  let onLost = (_why: string): void => {};
  const lost = new Promise<string>((resolve) => (onLost = resolve));
  let deadline: NodeJS.Timeout | undefined;
  const ready = new Promise<{ port: number; pid: number }>((resolve, reject) => {
    const fail = (why: string): void => {
      reject(new MeshError("registry_unavailable", why));
      if (stopping === undefined) onLost(why);
    };
    lines.on("line", (line) => {
      const report = readReport(line);
      if (report.type === "ready") resolve(report);
      else fail(report.why);
    });
    void exited.then(() => fail("its keeper ended"));
    deadline = setTimeout(() => fail(`it was not ready within ${START_MS / 1000} s`), START_MS);
  });
  try {
    const { port, pid } = await ready;
    return { port, pid, keeperPid: keeper.pid ?? 0, lost, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(deadline);
  }
}
