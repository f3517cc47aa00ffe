// How the watchdog judges. It looks at the turn count; while that stands still it looks into the turn, and ends it when it was the same
// turn of the same session until its time was up. What it cannot be sure of it leaves alone: a turn that is nobody's, one that has
// changed hands meanwhile, one that ended just now.

import { ResidentMemory } from "../resident-memory.ts";
import { BusyTime } from "./busy-time.ts";
import type { MainThread } from "./inspector.ts";
import { getsOn, loadingOf, type Loading } from "./loading.ts";
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
import { Suspicion } from "./suspicion.ts";

/** Between two looks at the turn count. Too large: sessions are ended late; too small: idle workers cost CPU. */
export const LOOK_MS = 40;
/** A turn so long is looked into, or half the budget if that is less. Too small: busy workers are interrupted all the time. */
const SUSPECT_MS = 60;
/** A turn whose end is near is looked at no more often. */
const LOOK_MIN_MS = 2;
/** How often a turn is looked into within its budget: the session must be the same each time. */
const LOOKS_A_BUDGET = 4;
/** Code that does not let itself be stopped in this time is reported, and tried again. The primary has the last word. */
const STOP_LIMIT_MS = 1_000;
/** Pause after a turn that is nobody's. Too small: it is stopped again and again for nothing. */
const LET_BE_MS = 2_000;
/**
 * A turn that takes longer to answer a look was in a function of V8 or Node, such as one that compiles or links a large module. Too small: loops
 * that V8 is about to optimize are taken for that.
 */
const NATIVE_MS = 150;
/** When such a turn is over its time it gets so long to end by itself, as nobody saw what it was in; and so often, or calls in a loop would not end. */
const COME_OUT_MS = 100;
const COME_OUT_TIMES = 2;
/** So long before its end a turn is prepared for it. Too small: stopping takes 20 to 50 ms longer. */
const ARM_MS = 120;
/** Memory is looked at in every fifth look at a worker that moves. Too large: a burst of several turns is blamed on the last one. */
const RSS_EVERY_LOOKS = 5;
const MIB = 1024 * 1024;

interface Suspect {
  readonly look: Look;
  readonly time: Suspicion;
  readonly lookedMs: number;
  /** What it was loading when its time was up, and it was let go on. */
  readonly loading?: Loading;
}

export class Watch {
  readonly #record: TurnRecord;
  readonly #main: MainThread;
  readonly #tell: (message: FromThread) => void;
  #turn = 0;
  /** When the turn count moved last, as far as was seen. */
  #movedMs = performance.now();
  readonly #memory = new ResidentMemory();
  readonly #busy = new BusyTime();
  /** Memory of the process a few looks before, or then. */
  #calmRss = this.#memory.bytes();
  #looks = 0;
  #suspect: Suspect | undefined;
  #letBeUntilMs = 0;
  /** Was reported already. */
  #deafTurn: number | undefined;
  /** The thread was seen to come out of a function of V8 or Node. */
  #cameOutMs = -Infinity;
  /** For which of these moments a turn was let go on. */
  #letOut = { turn: 0, times: 0, cameOutMs: -Infinity };

  constructor(record: TurnRecord, main: MainThread, tell: (message: FromThread) => void) {
    this.#record = record;
    this.#main = main;
    this.#tell = tell;
  }

  /** To be called every LOOK_MS, one call at a time. Resolves with the milliseconds until the next, which may be less. */
  async look(): Promise<number> {
    const now = performance.now();
    const turn = turnCountOf(this.#record);
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#movedMs = now;
      // Costs more than the rest of the look.
      if (this.#looks++ % RSS_EVERY_LOOKS === 0) this.#calmRss = this.#memory.bytes();
      this.#suspect = undefined;
      await this.#main.release();
      return LOOK_MS;
    }
    const { turnBudgetMs, turnHeapMiB } = budgetsOf(this.#record);
    if (now < this.#letBeUntilMs || now - this.#movedMs < Math.min(SUSPECT_MS, turnBudgetMs / 2)) return LOOK_MS;
    const suspect = this.#suspect;
    if (suspect === undefined || isDue(suspect, turnBudgetMs, now)) await this.#lookInto(suspect);
    if (this.#suspect === undefined) return LOOK_MS;
    const leftMs = this.#suspect.time.look(this.#busy.sight());
    if (leftMs <= Math.min(ARM_MS, turnBudgetMs / 8) && (await this.#main.arm(STOP_LIMIT_MS))) {
      this.#suspect.time.skip(this.#busy.sight());
    }
    if (suspect?.look === this.#suspect.look) {
      if (this.#memory.bytes() - this.#calmRss > turnHeapMiB * MIB) await this.#end(suspect, "turn memory");
      else if (leftMs <= 0 && !this.#comesOut()) await this.#end(suspect, "turn budget");
    }
    return Math.max(LOOK_MIN_MS, Math.min(LOOK_MS, leftMs));
  }

  /**
   * The time of a turn counts from when the first look into it was asked for. What went before may have been another one; what comes after is
   * the one that answers, for nobody can give way to another without a call, at which the look is answered. A loop without calls may take half a
   * second to it, while V8 optimizes its function.
   */
  async #lookInto(suspect: Suspect | undefined): Promise<void> {
    const time = new Suspicion(budgetsOf(this.#record).turnBudgetMs, this.#movedMs, this.#busy.sight());
    const waiting = setInterval(() => {
      const sight = this.#busy.sight();
      time.look(sight);
      suspect?.time.look(sight);
    }, LOOK_MS);
    const askedMs = performance.now();
    const look = await this.#ask(suspect === undefined ? "mark" : "look");
    clearInterval(waiting);
    this.#heard(askedMs);
    if (look === undefined || look.turn !== this.#turn) {
      this.#suspect = undefined;
    } else if (suspect !== undefined && (look.server === 0 || look.server === suspect.look.server)) {
      // Between two ticks or microtasks of a session nobody runs.
      this.#suspect = { ...suspect, lookedMs: performance.now() };
    } else {
      this.#suspect = { look, time, lookedMs: performance.now() };
    }
  }

  async #end(suspect: Suspect, reason: KillReason): Promise<void> {
    this.#suspect = undefined;
    const askedMs = performance.now();
    const paused = await this.#main.pause(STOP_LIMIT_MS);
    this.#heard(askedMs);
    const loading = paused === undefined ? undefined : loadingOf(paused, this.#main.modules);
    if (reason === "turn budget" && loading !== undefined && getsOn(suspect.loading, loading)) {
      if (performance.now() - this.#movedMs < budgetsOf(this.#record).importBudgetMs) {
        await this.#letLoad(suspect, loading);
        return;
      }
      reason = "import budget";
    } else if (reason === "turn budget" && paused !== undefined && this.#comesOut()) {
      this.#main.goOn();
      this.#suspect = suspect;
      return;
    }
    const place = paused === undefined ? undefined : await restingPlace(this.#main, paused);
    if (paused === undefined || place === undefined) {
      this.#deaf();
      await this.#main.release();
      return;
    }
    const { turn, server } = lookOf(await this.#main.ask("look"));
    const sameTurn = turn === suspect.look.turn;
    const same = sameTurn && server === suspect.look.server;
    const durationMs = Math.round(performance.now() - this.#movedMs);
    const guilty = same && server !== 0;
    if (guilty) await this.#main.ask("condemn", reason, durationMs, stackOf(place), loading?.module ?? "");
    await this.#main.resume(guilty);
    // Stopped between two of its ticks or microtasks: once more, at once.
    if (sameTurn && server === 0) this.#suspect = suspect;
    if (!same || guilty) return;
    this.#letBeUntilMs = performance.now() + LET_BE_MS;
    this.#tell({ type: "ours", durationMs, stack: stackOf(place) });
  }

  #heard(askedMs: number): void {
    const nowMs = performance.now();
    if (nowMs - askedMs > NATIVE_MS) this.#cameOutMs = nowMs;
  }

  #comesOut(): boolean {
    if (performance.now() - this.#cameOutMs > COME_OUT_MS) return false;
    if (this.#letOut.turn !== this.#turn) this.#letOut = { turn: this.#turn, times: 0, cameOutMs: -Infinity };
    if (this.#letOut.cameOutMs !== this.#cameOutMs) {
      this.#letOut.times++;
      this.#letOut.cameOutMs = this.#cameOutMs;
    }
    return this.#letOut.times <= COME_OUT_TIMES;
  }

  /** Its time begins anew. The neighbours wait for it, and the primary has to know that this is no silence. */
  async #letLoad(suspect: Suspect, loading: Loading): Promise<void> {
    await this.#main.ask("loading");
    this.#main.goOn();
    const sight = this.#busy.sight();
    this.#suspect = {
      ...suspect,
      time: new Suspicion(budgetsOf(this.#record).turnBudgetMs, sight.nowMs, sight),
      loading,
    };
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

/** Whose turn it is should be known soon. */
function isDue({ look, lookedMs }: Suspect, turnBudgetMs: number, nowMs: number): boolean {
  return look.server === 0 || nowMs - lookedMs >= turnBudgetMs / LOOKS_A_BUDGET;
}
