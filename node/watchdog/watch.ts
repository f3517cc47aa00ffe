// How the watchdog judges. It looks at the turn count; while that stands still it looks into the turn, and ends it when it was the same
// turn of the same session for the whole budget. What it cannot be sure of it leaves alone: a turn that is nobody's, one that has
// changed hands meanwhile, one that ended just now.

import { ResidentMemory } from "../resident-memory.ts";
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
const SUSPECT_MS = 100;
/** How often a turn is looked into within its budget: the session must be the same each time. */
const LOOKS_A_BUDGET = 4;
/** Code that does not let itself be stopped in this time is reported, and tried again. The primary has the last word. */
const STOP_LIMIT_MS = 1_000;
/** Pause after a turn that is nobody's. Too small: it is stopped again and again for nothing. */
const LET_BE_MS = 2_000;
/**
 * A turn must have used its budget in CPU time, or else last so much longer than it: on a machine that is short of CPU, or stops for a
 * while, a harmless turn takes long as well. Must be well under what the primary allows on top of the budget.
 */
const STARVED_MS = 500;
/** Memory is looked at in every fifth look at a worker that moves. Too large: a burst of several turns is blamed on the last one. */
const RSS_EVERY_LOOKS = 5;
const MIB = 1024 * 1024;

interface Suspect {
  readonly look: Look;
  readonly sinceMs: number;
  /** CPU time of the process then; that of helper threads counts too, which only makes a turn look busier. */
  readonly sinceCpuMs: number;
  readonly lookedMs: number;
}

export class Watch {
  readonly #record: TurnRecord;
  readonly #main: MainThread;
  readonly #tell: (message: FromThread) => void;
  #turn = 0;
  /** When the turn count moved last, as far as was seen. */
  #movedMs = performance.now();
  readonly #memory = new ResidentMemory();
  /** Memory of the process a few looks before, or then. */
  #calmRss = this.#memory.bytes();
  #looks = 0;
  #suspect: Suspect | undefined;
  #letBeUntilMs = 0;
  /** Was reported already. */
  #deafTurn: number | undefined;

  constructor(record: TurnRecord, main: MainThread, tell: (message: FromThread) => void) {
    this.#record = record;
    this.#main = main;
    this.#tell = tell;
  }

  /** To be called every few milliseconds, one call at a time. */
  async look(): Promise<void> {
    const now = performance.now();
    const turn = turnCountOf(this.#record);
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#movedMs = now;
      // Costs more than the rest of the look.
      if (this.#looks++ % RSS_EVERY_LOOKS === 0) this.#calmRss = this.#memory.bytes();
      this.#suspect = undefined;
      return;
    }
    const { turnBudgetMs, turnHeapMiB } = budgetsOf(this.#record);
    if (now < this.#letBeUntilMs || now - this.#movedMs < Math.min(SUSPECT_MS, turnBudgetMs / 2)) return;
    const suspect = this.#suspect;
    if (suspect === undefined || now - suspect.lookedMs >= turnBudgetMs / LOOKS_A_BUDGET) await this.#lookInto(suspect);
    if (suspect === undefined || suspect.look !== this.#suspect?.look) return;
    if (this.#memory.bytes() - this.#calmRss > turnHeapMiB * MIB) await this.#end(suspect, "turn memory");
    else if (isOver(suspect, turnBudgetMs)) await this.#end(suspect, "turn budget");
  }

  /** The time of a turn counts from the first look into it: what went before may have been another one. */
  async #lookInto(suspect: Suspect | undefined): Promise<void> {
    const look = await this.#ask(suspect === undefined ? "mark" : "look");
    const now = performance.now();
    if (look === undefined || look.turn !== this.#turn) this.#suspect = undefined;
    else if (suspect?.look.server === look.server) this.#suspect = { ...suspect, lookedMs: now };
    else this.#suspect = { look, sinceMs: now, sinceCpuMs: cpuMs(), lookedMs: now };
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
    this.#letBeUntilMs = performance.now() + LET_BE_MS;
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

  /** Tried again at once: a machine with little to spare may have been slow, and the primary's patience is short. */
  #deaf(): void {
    if (this.#deafTurn === this.#turn) return;
    this.#deafTurn = this.#turn;
    this.#tell({ type: "deaf", durationMs: Math.round(performance.now() - this.#movedMs) });
  }
}

function isOver({ sinceMs, sinceCpuMs }: Suspect, turnBudgetMs: number): boolean {
  const lastedMs = performance.now() - sinceMs;
  return lastedMs >= turnBudgetMs && (cpuMs() - sinceCpuMs >= turnBudgetMs || lastedMs >= turnBudgetMs + STARVED_MS);
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
