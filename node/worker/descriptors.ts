// Watches that this worker does not run out of file descriptors for good. Clients may take all of them and give them back; files that
// sessions opened and forgot stay open after their end, and nobody can connect any more. Linux only; elsewhere it finds nothing.

import { closeSync, openSync, readdirSync, readlinkSync } from "node:fs";

/** Fewer than these are as good as none: each connection that ends gives one back for a moment. */
const SPARE = 16;
/** Without them for so long. Smaller: a burst is taken for a leak. Larger: clients wait in vain for longer. */
const PATIENCE_MS = 5_000;
/** Are looked at to tell what sort most are. All of them would take a turn of 50 ms. */
const SAMPLE = 1_000;

export class Descriptors {
  /** To be able to look at all when there is none left. Undefined: could not be had again. */
  #reserve = reserved();
  #noneSinceMs: number | undefined;

  /** To be called now and then. True: there were next to none left for long, and most of them are not connections. */
  areLeaked(nowMs: number): boolean {
    this.#reserve ??= reserved();
    if (areSpare()) {
      this.#noneSinceMs = undefined;
      return false;
    }
    this.#noneSinceMs ??= nowMs;
    if (nowMs - this.#noneSinceMs < PATIENCE_MS) return false;
    // Not at each call: the look takes some milliseconds.
    this.#noneSinceMs = nowMs;
    this.#release();
    const names = namesOfOpen();
    this.#reserve = reserved();
    const every = Math.max(1, Math.floor(names.length / SAMPLE));
    const sample = names.filter((_, at) => at % every === 0);
    return sample.filter(isConnection).length < sample.length / 2;
  }

  close(): void {
    this.#release();
  }

  #release(): void {
    if (this.#reserve !== undefined) closeSync(this.#reserve);
    this.#reserve = undefined;
  }
}

/** Undefined: there is none left. */
function reserved(): number | undefined {
  try {
    return openSync("/dev/null", "r");
  } catch {
    return undefined;
  }
}

function areSpare(): boolean {
  const fds: number[] = [];
  for (let fd = reserved(); fd !== undefined; fd = fds.length < SPARE ? reserved() : undefined) fds.push(fd);
  for (const fd of fds) closeSync(fd);
  return fds.length === SPARE;
}

function namesOfOpen(): string[] {
  try {
    return readdirSync("/proc/self/fd");
  } catch {
    return [];
  }
}

function isConnection(name: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${name}`).startsWith("socket:");
  } catch {
    return false;
  }
}
