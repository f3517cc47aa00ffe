// What a session owns beside its server object, and what therefore ends with it: sockets, timers, unfinished requests. Made when
// the first of them is.

import type { MeshError } from "#proto";
import type { CellSocket } from "./cell-socket.ts";
import type { SessionTimer } from "./session-timer.ts";

/** Work that must hear of the end. Linked through itself: a Set for each request would cost more than the request. */
export interface Unfinished {
  unfinishedPrev: Unfinished | undefined;
  unfinishedNext: Unfinished | undefined;
  fail(error: MeshError): void;
}

export class Belongings {
  /** Booked by its sockets: what waits for their clients, no less than it is. */
  unsentBytes = 0;
  #sockets: Set<CellSocket> | undefined = undefined;
  #timers: Set<SessionTimer> | undefined = undefined;
  #unfinished: Unfinished | undefined = undefined;

  get sockets(): ReadonlySet<CellSocket> {
    return this.#sockets ?? NO_SOCKETS;
  }

  get timers(): ReadonlySet<SessionTimer> {
    return this.#timers ?? NO_TIMERS;
  }

  get unfinishedCount(): number {
    let count = 0;
    for (let entry = this.#unfinished; entry !== undefined; entry = entry.unfinishedNext) count++;
    return count;
  }

  addSocket(socket: CellSocket): void {
    this.#sockets ??= new Set();
    this.#sockets.add(socket);
  }

  removeSocket(socket: CellSocket): void {
    if (this.#sockets?.delete(socket) === true && this.#sockets.size === 0) this.#sockets = undefined;
  }

  addTimer(timer: SessionTimer): void {
    this.#timers ??= new Set();
    this.#timers.add(timer);
  }

  removeTimer(timer: SessionTimer): void {
    if (this.#timers?.delete(timer) === true && this.#timers.size === 0) this.#timers = undefined;
  }

  addUnfinished(entry: Unfinished): void {
    entry.unfinishedNext = this.#unfinished;
    if (this.#unfinished !== undefined) this.#unfinished.unfinishedPrev = entry;
    this.#unfinished = entry;
  }

  removeUnfinished(entry: Unfinished): void {
    const { unfinishedPrev, unfinishedNext } = entry;
    if (unfinishedPrev !== undefined) unfinishedPrev.unfinishedNext = unfinishedNext;
    else if (this.#unfinished === entry) this.#unfinished = unfinishedNext;
    if (unfinishedNext !== undefined) unfinishedNext.unfinishedPrev = unfinishedPrev;
    entry.unfinishedPrev = undefined;
    entry.unfinishedNext = undefined;
  }

  /** The session has ended. Timers and sockets first: failing requests runs abort listeners of session code. */
  end(closeCode: number, closeText: string, error: MeshError): void {
    for (const timer of this.timers) timer.clear();
    this.#timers = undefined;
    for (const socket of this.sockets) socket.drop(closeCode, closeText);
    this.#sockets = undefined;
    for (let entry = this.#unfinished; entry !== undefined; entry = this.#unfinished) {
      this.removeUnfinished(entry);
      entry.fail(error);
    }
  }
}

const NO_SOCKETS: ReadonlySet<CellSocket> = new Set();
const NO_TIMERS: ReadonlySet<SessionTimer> = new Set();
