// The watchdog as its worker sees it: starts the thread, counts the turns of the event loop for it, answers its looks and carries out
// its sentences. `guard` is called in the midst of session code, so it only notes what is to be done on a turn of its own.

import { Worker } from "node:worker_threads";
import { MeshError, type SessionKey } from "#proto";
import type { Log } from "../log.ts";
import type { Cell } from "../session/cell.ts";
import { current, outside } from "../session/current.ts";
import { book, tearImmediate } from "../session/immediates.ts";
import { SessionKilled } from "../session/session-killed.ts";
import { condemnTicks, installSessionTicks, ownTick, sessionTicks } from "../session/ticks.ts";
import { turns } from "../session/turns.ts";
import {
  awaitLetGo,
  countTurn,
  newRecord,
  setBudgets,
  turnCountOf,
  type Budgets,
  type FromThread,
  type KillReason,
  type ToThread,
} from "./record.ts";

/** Pace at which an idle event loop counts turns; must be well under what makes a turn suspicious. */
const COUNT_MS = 40;
/** A thread that has not connected in this time will not. */
const READY_LIMIT_MS = 10_000;
/** A thread lets go within milliseconds. One that has failed does not; then Node says at the end that it waits for a debugger. */
const LET_GO_LIMIT_MS = 250;
const GUARD = "sessionmesh.guard";
const settled = Promise.resolve();

/** A session that was ended by force. */
export interface Kill {
  readonly session: SessionKey;
  readonly reason: KillReason;
  /** Since the worker was seen to move last. */
  readonly durationMs: number;
  /** Where the session was, as the debugger saw it. */
  readonly stack: string;
}

export interface WatchdogOptions extends Budgets {
  readonly log: Log;
  /** Ends the session, which fails what it owes. Once for each kill. */
  readonly kill: (key: SessionKey, error: MeshError) => void;
  /** A session loads code for longer than a turn may take, and is let go on. Called in the midst of it. */
  readonly onLoading: () => void;
  /** After that. */
  readonly onKilled: (kill: Kill) => void;
}

interface Sentence {
  readonly cell: Cell;
  readonly reason: KillReason;
  readonly durationMs: number;
  readonly stack: string;
  /** The module whose top level ran; empty: none was loaded. */
  readonly module: string;
}

/** On its way through the queue of ticks: when it is through, the turn that was marked is over. */
interface Mark {
  /** Of sessions, that had run when it passed last. */
  ticks: number | undefined;
}

export class Watchdog {
  readonly #record = newRecord();
  readonly #log: Log;
  readonly #thread: Worker;
  readonly #counter: NodeJS.Timeout;
  readonly #ready = Promise.withResolvers<void>();
  #options: WatchdogOptions;
  /** Numbers for servers: the thread cannot hold the objects. */
  readonly #servers = new WeakMap<Cell, number>();
  #lastServer = 0;
  #sentence: Sentence | undefined;
  #mark: Mark | undefined;

  /** Rejects when this Node lets no thread watch its main one. */
  static async start(options: WatchdogOptions): Promise<Watchdog> {
    const watchdog = new Watchdog(options);
    const limit = setTimeout(
      () => watchdog.#ready.reject(new MeshError("internal", "the watchdog thread did not start")),
      READY_LIMIT_MS,
    );
    try {
      await watchdog.#ready.promise;
    } catch (error) {
      await watchdog.close();
      throw error;
    } finally {
      clearTimeout(limit);
      Reflect.deleteProperty(globalThis, Symbol.for(GUARD));
    }
    return watchdog;
  }

  private constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#log = options.log;
    setBudgets(this.#record, options);
    installSessionTicks();
    turns.isolate(this.#record);
    // For the moment of the start only: then the thread has a reference of its own.
    Object.defineProperty(globalThis, Symbol.for(GUARD), { value: this.#guard, configurable: true });
    this.#thread = new Worker(new URL("./thread.ts", import.meta.url), {
      workerData: { record: this.#record, guard: `globalThis[Symbol.for(${JSON.stringify(GUARD)})]` },
      name: "watchdog",
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    this.#thread.on("message", (message: FromThread) => this.#hear(message));
    this.#thread.on("error", (error: Error) => {
      this.#ready.reject(error);
      this.#log.error("the watchdog has failed; only the primary watches this worker now", { stack: error.stack });
    });
    this.#thread.unref();
    this.#counter = setInterval(() => {
      countTurn(this.#record);
      this.#carryOut();
    }, COUNT_MS);
    this.#counter.unref();
  }

  /** Other budgets and another host from now on: for the trial at start. Returns what undoes it. */
  lend(options: WatchdogOptions): () => void {
    const before = this.#options;
    this.#options = options;
    setBudgets(this.#record, options);
    return () => {
      this.#options = before;
      setBudgets(this.#record, before);
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#counter);
    turns.mingle();
    await this.#thread.terminate();
  }

  /** For a process that ends at once: Node would take the thread for a debugger, and say that it waits for it. Blocks for some milliseconds. */
  letGo(): void {
    const message: ToThread = "let go";
    // A port of threads, which has no origins.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    this.#thread.postMessage(message);
    awaitLetGo(this.#record, LET_GO_LIMIT_MS);
  }

  /** What the thread calls, by name, while session code stands still. The answers are JSON values. */
  readonly #guard = {
    look: () => ({ turn: turnCountOf(this.#record), server: this.#serverNumber() }),
    mark: () => {
      const mark = { ticks: undefined };
      this.#mark = mark;
      // By way of a microtask: the thread may call between any two functions of Node's, also when Node has found its queue of ticks empty
      // and not noted it yet. A tick that is added then is never run, nor any other from then on.
      outside(() => void settled.then(() => this.#pass(mark)));
      return this.#guard.look();
    },
    loading: () => outside(() => this.#options.onLoading()),
    condemn: (reason: KillReason, durationMs: number, stack: string, module: string) => {
      const cell = current.getStore();
      if (cell === undefined) return;
      this.#sentence = { cell, reason, durationMs, stack, module };
      condemnTicks(cell);
      turns.tear();
      tearImmediate();
      outside(() => book(this.#carryOut));
      // Node does not take back the context of a tick that is torn off: what is nobody's would be taken for the session's from then on.
      current.enterWith(undefined);
    },
  };

  /** As nobody: a look into it must not find the session that was running when the mark was made. */
  #pass(mark: Mark): void {
    outside(() => ownTick(() => this.#passed(mark)));
  }

  /**
   * The turn goes on as long as ticks of sessions make further ticks. Passing once tells nothing: the session may have been about to make
   * one when the mark was made.
   */
  #passed(mark: Mark): void {
    if (mark !== this.#mark) return;
    const ticks = sessionTicks();
    if (ticks === mark.ticks) {
      this.#mark = undefined;
      countTurn(this.#record);
      return;
    }
    mark.ticks = ticks;
    this.#pass(mark);
  }

  #serverNumber(): number {
    const cell = current.getStore();
    if (cell === undefined) return 0;
    let number = this.#servers.get(cell);
    if (number === undefined) {
      number = ++this.#lastServer;
      this.#servers.set(cell, number);
    }
    return number;
  }

  readonly #carryOut = (): void => {
    const sentence = this.#sentence;
    if (sentence === undefined) return;
    this.#sentence = undefined;
    const { cell, reason, durationMs, stack, module } = sentence;
    const session = cell.id.key;
    const { kill, onKilled } = this.#options;
    const why = `the session was ended by force: it held its worker for ${durationMs} ms (${reason})${advice(reason, module)}`;
    const error = new SessionKilled(reason, why, { session, durationMs });
    condemnTicks(undefined);
    if (cell.ended) {
      // Something it had left running. Its name may have another server by now.
      outside(() => turns.mend(error));
      this.#log.warn("code of an ended session was stopped", { session, reason, durationMs, stack });
      return;
    }
    kill(session, error);
    onKilled({ session, reason, durationMs, stack });
  };

  #hear(message: FromThread): void {
    switch (message.type) {
      case "ready":
        this.#ready.resolve();
        break;
      case "ours": {
        const { durationMs, stack } = message;
        this.#log.warn("a turn that belongs to no session takes too long", { durationMs, stack });
        break;
      }
      case "deaf":
        this.#log.warn("the worker could not be stopped to look who holds it", { durationMs: message.durationMs });
        break;
    }
  }
}

function advice(reason: KillReason, module: string): string {
  if (reason === "import budget") {
    return ", loading code: import what is big at the top of the application's module, or raise MESH_IMPORT_BUDGET_MS";
  }
  return module === "" ? "" : `, at the top level of ${module}, which did not come to its end`;
}
