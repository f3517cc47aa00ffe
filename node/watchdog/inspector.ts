// The watchdog's hold on the main thread: Node's own inspector, used from another thread. The debugger is enabled only while a turn is
// being ended, so that a healthy worker pays nothing for it.

import { Session } from "node:inspector/promises";
import type { Debugger, Runtime } from "node:inspector";

type Command =
  | "Debugger.enable"
  | "Debugger.pause"
  | "Debugger.stepOut"
  | "Debugger.stepInto"
  | "Debugger.resume"
  | "Runtime.terminateExecution";

/** A frame of a stopped turn. */
export interface Frame {
  readonly functionName: string;
  /** Of the script; empty for code that was evaluated. */
  readonly url: string;
  /** Both from 1. */
  readonly line: number;
  readonly column: number;
}

/** The frames of a stopped turn, innermost first. */
export type Paused = readonly Frame[];

export class MainThread {
  readonly #session = new Session();
  #paused: ((event: Paused) => void) | undefined;
  #guard = "";
  /** The debugger is enabled. */
  #armed = false;
  /** By the ids of scripts, which is all that frames tell of them; known while the debugger is enabled. */
  readonly #urls = new Map<string, string>();
  #modules = 0;

  constructor() {
    this.#session.connectToMainThread();
    this.#session.on("Debugger.paused", ({ params }) => {
      const waiting = this.#paused;
      this.#paused = undefined;
      // Too late for us, or a `debugger` statement of session code: nobody waits for it.
      if (waiting === undefined) this.#send("Debugger.resume");
      else waiting(params.callFrames.map((frame) => this.#frameOf(frame)));
    });
    this.#session.on("Debugger.scriptParsed", ({ params }) => {
      this.#urls.set(params.scriptId, params.url);
      if (params.url !== "") this.#modules++;
    });
  }

  /** Finds the object whose methods `ask` calls. */
  async attach(expression: string): Promise<void> {
    const found = await this.#session.post("Runtime.evaluate", { expression });
    if (found.result.objectId === undefined) throw new Error("the main thread has no guard");
    this.#guard = found.result.objectId;
  }

  /** Calls a method of the guard on the main thread, in the midst of whatever runs there, and gives what it returned, by JSON. */
  async ask(method: string, ...parameters: readonly (string | number)[]): Promise<unknown> {
    const call: Runtime.CallFunctionOnParameterType = {
      objectId: this.#guard,
      functionDeclaration: "function(method, ...parameters) { return this[method](...parameters); }",
      arguments: [method, ...parameters].map((value) => ({ value })),
      returnByValue: true,
    };
    const answer = await this.#session.post("Runtime.callFunctionOn", call);
    if (answer.exceptionDetails !== undefined) throw new Error(`the guard failed: ${answer.exceptionDetails.text}`);
    return answer.result.value;
  }

  /**
   * Enables the debugger. That takes some milliseconds, of the turn that runs, because the main thread has to tell of each script. `release`
   * MUST follow. True when it was done now.
   */
  async arm(limitMs: number): Promise<boolean> {
    if (this.#armed) return false;
    this.#armed = true;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      limit = setTimeout(() => resolve(false), limitMs);
    });
    const enabled = this.#session.post("Debugger.enable").then(
      () => true,
      () => false,
    );
    const done = await Promise.race([enabled, late]);
    clearTimeout(limit);
    return done;
  }

  /** Stops the main thread where it is. Undefined when it does not let itself be stopped in time. */
  pause(limitMs: number): Promise<Paused | undefined> {
    return this.#untilPaused(limitMs, () => {
      void this.arm(limitMs);
      this.#send("Debugger.pause");
    });
  }

  /** Lets the stopped thread run on for some microseconds. Undefined when it does not let itself be stopped again in time. */
  async nudge(limitMs: number): Promise<Paused | undefined> {
    // A thread that still stands takes no notice of a pause.
    const pause = (): void => this.#send("Debugger.pause");
    this.#session.once("Debugger.resumed", pause);
    const paused = await this.#untilPaused(limitMs, () => this.#send("Debugger.resume"));
    this.#session.off("Debugger.resumed", pause);
    return paused;
  }

  /** Lets the stopped thread run out of the function on top, or into the next one. Undefined when it runs on for too long. */
  step(how: "out" | "into", limitMs: number): Promise<Paused | undefined> {
    return this.#untilPaused(limitMs, () => {
      if (how === "out") this.#send("Debugger.stepOut");
      else this.#send("Debugger.stepInto");
    });
  }

  /** Lets the stopped thread go on. `torn`: without the turn in which it was stopped. */
  async resume(torn: boolean): Promise<void> {
    if (torn) this.#send("Runtime.terminateExecution");
    this.#send("Debugger.resume");
    await this.release();
  }

  /** Lets the stopped thread go on, to be stopped again soon. */
  goOn(): void {
    this.#send("Debugger.resume");
  }

  /** Of files, that the thread has told of since the debugger was enabled; each look into it is a script as well, which has no name. */
  get modules(): number {
    return this.#modules;
  }

  /** Nothing is to be stopped any more. */
  async release(): Promise<void> {
    if (!this.#armed) return;
    this.#armed = false;
    await this.#session.post("Debugger.disable");
    this.#urls.clear();
    this.#modules = 0;
  }

  /** At once, whatever is under way. Nothing can be asked any more. */
  detach(): void {
    this.#session.disconnect();
  }

  #frameOf({ functionName, location }: Debugger.CallFrame): Frame {
    return {
      functionName,
      url: this.#urls.get(location.scriptId) ?? "",
      line: location.lineNumber + 1,
      column: (location.columnNumber ?? 0) + 1,
    };
  }

  async #untilPaused(limitMs: number, act: () => void): Promise<Paused | undefined> {
    const { promise, resolve } = Promise.withResolvers<Paused | undefined>();
    this.#paused = resolve;
    const limit = setTimeout(() => {
      this.#paused = undefined;
      resolve(undefined);
    }, limitMs);
    act();
    const paused = await promise;
    clearTimeout(limit);
    return paused;
  }

  /** What it leads to is seen by the pause that follows or does not; a step in a thread that runs is refused, which says nothing more. */
  #send(method: Command): void {
    this.#session.post(method).catch(() => {});
  }
}
