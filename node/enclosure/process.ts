// A process of this worker that holds one session. Whatever becomes of it, a native crash and the end of its memory included, becomes
// of this session alone. It watches itself, see process-watch.ts, and dies with its worker.

import { spawn, type ChildProcess } from "node:child_process";
import { getCompileCacheDir } from "node:module";
import type { Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import {
  enclosureEnv,
  type Downfall,
  type Enclosure,
  type EnclosureEvents,
  type EnclosureLimits,
} from "./enclosure.ts";
import { PipeStream } from "./pipe-stream.ts";
import { PACKETS_FD, WATCH_FD, isPipe, processArguments, verdictOf, type Verdict } from "./process-limits.ts";

/** What a Node process takes beside its heap: code, buffers, the watch. Too small: an empty session is ended. */
const RSS_BASE_MB = 128;
/** Of what it writes on stderr, the end says what it died of. */
const LAST_WORDS_CHARS = 4_096;
/** Pipes that are still open so long after the exit are held by a process that the session left behind. */
const PIPES_LIMIT_MS = 200;
/** Flags of our own process that would bind a second one to the same port, or give it our heap. */
const NOT_INHERITED = /^--(inspect|max-old-space-size|max-heap-size|title)/;
/** Signals that a process sends to itself by what it does. Any other came from somebody. */
const FAULTS: Readonly<Record<string, string>> = {
  SIGABRT: "its process aborted",
  SIGSEGV: "its process crashed with a segmentation fault",
  SIGBUS: "its process crashed with a bus error",
  SIGILL: "its process crashed with an illegal instruction",
  SIGFPE: "its process crashed with an arithmetic fault",
  SIGTRAP: "its process crashed with a trap",
};

export function startProcess(name: string, limits: EnclosureLimits, events: EnclosureEvents): Enclosure {
  return new SessionProcess(name, limits, events);
}

class SessionProcess implements Enclosure {
  readonly stream: PipeStream;
  readonly #child: ChildProcess;
  readonly #limits: EnclosureLimits;
  readonly #events: EnclosureEvents;
  #verdict = "";
  #lastWords = "";
  #fallen = false;

  constructor(name: string, limits: EnclosureLimits, events: EnclosureEvents) {
    this.#limits = limits;
    this.#events = events;
    const { turnBudgetMs, heapMb } = limits;
    this.#child = spawn(
      process.execPath,
      [
        ...process.execArgv.filter((flag) => !NOT_INHERITED.test(flag)),
        `--max-old-space-size=${heapMb}`,
        `--title=${name}`,
        fileURLToPath(new URL("./inside-process.ts", import.meta.url)),
        ...processArguments({ turnBudgetMs, rssMb: rssMbOf(limits) }),
      ],
      {
        stdio: ["ignore", "inherit", "pipe", "pipe", "pipe"],
        env: enclosureEnv(getCompileCacheDir() ?? path.join(os.tmpdir(), "node-compile-cache")),
      },
    );
    // Now, because a process that could not be started says so in a moment.
    this.#child.on("error", (error) => this.#end(undefined, undefined, error));
    // Too many open files: then there are no pipes at all, whatever the type says.
    const pipes: ChildProcess["stdio"] | undefined = this.#child.stdio;
    const [packets, watch] = [pipes?.[PACKETS_FD], pipes?.[WATCH_FD]];
    if (!isPipe(packets) || !isPipe(watch)) {
      this.#fallen = true;
      throw new Error("this worker can open no more pipes");
    }
    this.stream = new PipeStream(packets, {
      received: (packet) => events.received(packet),
      drained: () => events.drained(),
      // Its exit says more.
      closed: () => {},
    });
    this.#hearWatch(watch);
    this.#child.stderr?.on("data", (bytes: Buffer) => {
      process.stderr.write(bytes);
      this.#lastWords = (this.#lastWords + bytes.toString("latin1")).slice(-LAST_WORDS_CHARS);
    });
    this.#child.on("exit", (code, signal) => {
      const late = setTimeout(() => this.#end(code, signal), PIPES_LIMIT_MS);
      this.#child.once("close", () => {
        clearTimeout(late);
        this.#end(code, signal);
      });
    });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #hearWatch(watch: Socket): void {
    watch.on("error", () => {});
    watch.on("data", (bytes: Buffer) => {
      this.#verdict += bytes.toString();
    });
  }

  #end(code: number | null | undefined, signal: NodeJS.Signals | null | undefined, error?: Error): void {
    if (this.#fallen) return;
    this.#fallen = true;
    for (const pipe of this.#child.stdio) pipe?.destroy();
    this.#events.fell(
      error === undefined
        ? this.#downfall(code, signal)
        : { how: "crashed", reason: "its process failed", detail: { message: error.message } },
    );
    this.#events.gone();
  }

  #downfall(code: number | null | undefined, signal: NodeJS.Signals | null | undefined): Downfall {
    const verdict = verdictOf(this.#verdict);
    if (verdict !== undefined) return { how: "killed", ...this.#told(verdict) };
    if (signal === null || signal === undefined)
      return { how: "crashed", reason: `its process ended with exit code ${code}` };
    if (/heap limit|out of memory/i.test(this.#lastWords)) {
      return { how: "killed", reason: `its heap reached ${this.#limits.heapMb} MB` };
    }
    const fault = FAULTS[signal];
    return fault === undefined
      ? { how: "killed", reason: `somebody sent its process ${signal}` }
      : { how: "crashed", reason: fault };
  }

  #told({ reason, durationMs }: Verdict): { readonly reason: string; readonly durationMs?: number } {
    if (reason === "turn budget") return { reason, durationMs };
    return { reason: `its process took more than ${rssMbOf(this.#limits)} MB` };
  }
}

function rssMbOf({ heapMb }: EnclosureLimits): number {
  return 2 * heapMb + RSS_BASE_MB;
}
