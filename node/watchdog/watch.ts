// How the watchdog judges. It looks at the turn count; while that stands still it looks into the turn, and ends it when it was the same
// turn of the same session for the whole budget. What it cannot be sure of it leaves alone: a turn that is nobody's, one that has
// changed hands meanwhile, one that ended just now.

import type { MainThread } from "./inspector.ts";
import {
  budgetsOf,
  lookOf,
  turnCountOf,
  type FromThread,
  type KillReason,
  type Look,
  type TurnRecord,
} from "./record.ts";
import { restingPlace, stackOf } from "./resting-place.ts";

/** A turn so long is looked into, or half the budget if that is less. Too small: busy workers are interrupted all the time. */
const SUSPECT_MS = 60;
/** How often a turn is looked into within its budget: the session must be the same each time. */
const LOOKS_A_BUDGET = 4;
/** Code that does not let itself be stopped in this time never will; then the primary has the next word. */
const STOP_LIMIT_MS = 1_000;
/** Pause after a turn that was not ended. Too small: it is stopped again and again for nothing. */
const LET_BE_MS = 2_000;
const MIB = 1024 * 1024;

interface Suspect {
  readonly look: Look;
  readonly sinceMs: number;
  readonly lookedMs: number;
}

export class Watch {
  readonly #record: TurnRecord;
  readonly #main: MainThread;
  readonly #tell: (message: FromThread) => void;
  #turn = 0;
  /** When the turn count moved last, as far as was seen, and the memory of the process then. */
  #movedMs = performance.now();
  #movedRss = 0;
  #suspect: Suspect | undefined;
  #letBeUntilMs = 0;

  constructor(record: TurnRecord, main: MainThread, tell: (message: FromThread) => void) {
    this.#record = record;
    this.#main = main;
    this.#tell = tell;
  }

  /** To be called every few milliseconds, one call at a time. */
  async look(): Promise<void> {
    const now = performance.now();
    const turn = turnCountOf(this.#record);
    const rss = process.memoryUsage.rss();
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#movedMs = now;
      this.#movedRss = rss;
      this.#suspect = undefined;
      return;
    }
    const { turnBudgetMs, turnHeapMiB } = budgetsOf(this.#record);
    if (now < this.#letBeUntilMs || now - this.#movedMs < Math.min(SUSPECT_MS, turnBudgetMs / 2)) return;
    const suspect = this.#suspect;
    if (suspect === undefined || now - suspect.lookedMs >= turnBudgetMs / LOOKS_A_BUDGET) await this.#lookInto(suspect);
    if (suspect === undefined || suspect.look !== this.#suspect?.look) return;
    if (rss - this.#movedRss > turnHeapMiB * MIB) await this.#end(suspect, "turn memory");
    else if (now - suspect.sinceMs >= turnBudgetMs) await this.#end(suspect, "turn budget");
  }

  /** The time of a turn counts from the first look into it: what went before may have been another one. */
  async #lookInto(suspect: Suspect | undefined): Promise<void> {
    const look = await this.#ask(suspect === undefined ? "mark" : "look");
    const now = performance.now();
    if (look === undefined || look.turn !== this.#turn) this.#suspect = undefined;
    else if (suspect?.look.server === look.server) this.#suspect = { ...suspect, lookedMs: now };
    else this.#suspect = { look, sinceMs: now, lookedMs: now };
  }

  async #end(suspect: Suspect, reason: KillReason): Promise<void> {
    this.#suspect = undefined;
    const paused = await this.#main.pause(STOP_LIMIT_MS);
    const place = paused === undefined ? undefined : await restingPlace(this.#main, paused);
    if (paused === undefined || place === undefined) {
      this.#deaf();
      await this.#main.release();
      return;
    }
    const { turn, server } = lookOf(await this.#main.ask("look"));
    const same = turn === suspect.look.turn && server === suspect.look.server;
    const durationMs = Math.round(performance.now() - this.#movedMs);
    const guilty = same && server !== 0;
    if (guilty) await this.#main.ask("condemn", reason, durationMs, stackOf(place));
    await this.#main.resume(guilty);
    if (!same || guilty) return;
    this.#letBe();
    this.#tell({ type: "ours", durationMs, stack: stackOf(place) });
  }

  async #ask(method: "mark" | "look"): Promise<Look | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), STOP_LIMIT_MS);
    });
    const answer = await Promise.race([this.#main.ask(method), limit]);
    clearTimeout(timer);
    if (answer !== undefined) return lookOf(answer);
    this.#deaf();
    return undefined;
  }

  #deaf(): void {
    this.#letBe();
    this.#tell({ type: "deaf", durationMs: Math.round(performance.now() - this.#movedMs) });
  }

  #letBe(): void {
    this.#letBeUntilMs = performance.now() + LET_BE_MS;
  }
}
