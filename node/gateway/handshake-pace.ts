// Lets WebSocket handshakes in at a pace that leaves the worker time for everybody else. When a node dies its clients come to the
// others in the same second, and each costs as much as some requests. How many the worker can bear shows in how late its timers are: also
// when it is other processes that keep the processor. While there is nobody else for whom time could be left, only the length of a turn
// of the event loop bounds them: whoever comes then waits no longer than for that. Handshakes wait for their turn here, requests never do.

import { MeshError } from "#proto";
import type { Clock } from "#mesh";
import { Line } from "../session/line.ts";

const TICK_MS = 10;
/** A timer that is later shows that the worker, or its machine, has no time left. */
const LATE_MS = 10;
/** Handshakes a tick: the least, so that all come in within seconds, and as many as nobody notices. */
const SHARE_MIN = 1;
const SHARE_MAX = 32;
/** The same while nobody else is there; what their own work makes late brings it down to some 10 to 20 ms of them. */
const SHARE_ALONE = 512;
/** Who has done nothing for so long is not there. Too small: neighbours wait behind a crowd more often; too large: a crowd crawls for so long. */
const ALONE_MS = 200;
/** Some twenty kilobytes each. Who comes when so many wait is told to come again. */
const WAITING_MAX = 2_048;
/** Those who are told so come back spread over this time. */
const RETRY_SPREAD_MS = 4_000;

export interface Handshake {
  readonly socket: { readonly destroyed: boolean };
  begin(): void;
}

export class HandshakePace {
  readonly #clock: Clock;
  readonly #draw: () => number;
  readonly #others: () => number;
  readonly #waiting = new Line<Handshake>();
  #share = SHARE_MAX;
  /** Of this tick's share. */
  #left = SHARE_MAX;
  #dueMs = 0;
  #othersSeen = 0;
  #othersMs = -Infinity;
  #stopTick: (() => void) | undefined;

  /** @param draw numbers in [0, 1) @param others rises with all that the worker does for anybody but those who connect */
  constructor(clock: Clock, draw: () => number, others: () => number) {
    this.#clock = clock;
    this.#others = others;
    this.#draw = draw;
  }

  /** At once, or when its turn comes. Throws `overloaded` when too many wait. */
  enter(handshake: Handshake): void {
    if (this.#left > 0 && this.#waiting.length === 0) {
      this.#left--;
      this.#arm();
      handshake.begin();
      return;
    }
    if (this.#waiting.length >= WAITING_MAX) {
      throw new MeshError("overloaded", "too many WebSockets are being opened on this worker", {
        retryAfterMs: 1_000 + this.#draw() * RETRY_SPREAD_MS,
      });
    }
    this.#waiting.push(handshake);
  }

  /** All that wait, now: for a worker that refuses them. */
  flush(): void {
    this.#stopTick?.();
    this.#stopTick = undefined;
    this.#left = Number.POSITIVE_INFINITY;
    this.#letIn();
  }

  #arm(): void {
    if (this.#stopTick !== undefined) return;
    this.#dueMs = this.#clock.now() + TICK_MS;
    this.#stopTick = this.#clock.timer(TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#stopTick = undefined;
    const nowMs = this.#clock.now();
    const isLate = nowMs - this.#dueMs > LATE_MS;
    const isBusy = this.#left < this.#share;
    const most = this.#isAlone(nowMs) ? SHARE_ALONE : SHARE_MAX;
    if (isLate) this.#share = Math.max(SHARE_MIN, this.#share >> 1);
    else if (!isBusy) this.#share = SHARE_MAX;
    // By halves where nobody is hurt when it was too much.
    else this.#share += most === SHARE_ALONE ? (this.#share >> 1) + 1 : 1;
    this.#share = Math.min(this.#share, most);
    this.#left = this.#share;
    this.#letIn();
    if (isBusy || this.#left < this.#share) this.#arm();
  }

  #isAlone(nowMs: number): boolean {
    const others = this.#others();
    if (others !== this.#othersSeen) this.#othersMs = nowMs;
    this.#othersSeen = others;
    return nowMs - this.#othersMs > ALONE_MS;
  }

  #letIn(): void {
    while (this.#left > 0) {
      const handshake = this.#waiting.shift();
      if (handshake === undefined) return;
      if (handshake.socket.destroyed) continue;
      this.#left--;
      handshake.begin();
    }
  }
}
