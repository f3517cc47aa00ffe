// The gate of one session. Events run while nothing holds it (a start, `blockConcurrencyWhile`, a serial turn, a stop, a closed
// lease) and wait in their order otherwise. A base of the cell, not a part of it: there are millions of cells.

import type { MeshError } from "#proto";
import { outside } from "./current.ts";

/** Events that may wait for one session. Too small: a slow start refuses a crowd; too large: a stuck session holds much memory. */
export const EVENTS_WAITING_MAX = 1_000;

const PUMPING = 1;
const QUEUED = 2;

/** Something that waits for the gate. */
export interface WaitingEvent {
  run(): void;
  /** The session has ended first. */
  refuse(error: MeshError): void;
}

export abstract class Gate {
  /** Rises with each hold: tells what was set before a hold from what was set in it. */
  section = 0;
  #heldSince = 0;
  /** Open at 0. The start is the first hold. */
  #holds = 1;
  #waiting: WaitingEvent[] | undefined = undefined;
  /** Of the flags below: one field for both. */
  #flags = 0;

  /** The node may act, and this turn of the event loop is no other session's. */
  protected abstract leaseOpen(): boolean;
  /** Has `pump` called once that is so. */
  protected abstract awaitLease(): void;
  /** One hold less, or nothing waits any more. */
  protected abstract eased(): void;

  /** Waits for a turn of the event loop; for `turns` alone. */
  get queued(): boolean {
    return (this.#flags & QUEUED) !== 0;
  }

  set queued(queued: boolean) {
    this.#flags = queued ? this.#flags | QUEUED : this.#flags & ~QUEUED;
  }

  hold(): void {
    if (this.#holds++ === 0) this.#heldSince = ++this.section;
  }

  /** A hold that never goes and lets timers pass: what they wake may be what it waits for. */
  protected close(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    this.eased();
    if (this.#holds === 0 && this.#waiting !== undefined) outside(() => this.pump());
  }

  protected get holds(): number {
    return this.#holds;
  }

  protected get waiting(): boolean {
    return this.#waiting !== undefined;
  }

  protected get full(): boolean {
    return this.#waiting !== undefined && this.#waiting.length >= EVENTS_WAITING_MAX;
  }

  /** An event may run now. */
  protected get open(): boolean {
    return this.#holds === 0 && this.#waiting === undefined && this.leaseOpen();
  }

  /** The same for something set in `section`, which a hold from the same section on may be waiting for. */
  protected openFor(section: number): boolean {
    return this.#holds === 0 ? this.open : section >= this.#heldSince && this.leaseOpen();
  }

  protected enqueue(event: WaitingEvent): void {
    this.#waiting ??= [];
    this.#waiting.push(event);
    if (!this.leaseOpen()) this.awaitLease();
  }

  protected pump(): void {
    // A serial turn that ends at once opens the gate again: the loop goes on, instead of one more loop inside each event.
    if ((this.#flags & PUMPING) !== 0) return;
    this.#flags |= PUMPING;
    // The list stays in place until it is empty, so that newcomers queue behind it.
    while (this.#waiting !== undefined && this.#holds === 0 && this.leaseOpen()) {
      const event = this.#waiting.shift();
      if (event === undefined) this.#waiting = undefined;
      else event.run();
    }
    this.#flags &= ~PUMPING;
    if (this.#waiting === undefined) this.eased();
    else if (!this.leaseOpen()) this.awaitLease();
  }

  /** For the end of the session. */
  protected takeWaiting(): readonly WaitingEvent[] {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    return waiting;
  }
}
