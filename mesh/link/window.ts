// Credit accounting of one direction of one exchange. Pure: no frames, no I/O. The sender counts what the receiver has not
// consumed yet and stops at WINDOW_BYTES; the receiver counts the same bytes and refuses a peer that does not stop.

import { MeshError } from "#proto";

/** Bytes that one direction of an exchange may have un-credited. Too small: a stream waits for a round trip too often. Too large: memory per slow reader. */
export const WINDOW_BYTES = 256 * 1024;

/** Credit travels in steps of at least so many bytes: one frame back for several forth, long before the window is used up. */
export const CREDIT_STEP_BYTES = 32 * 1024;

export class SendWindow {
  // Invariant: 0 <= outstanding. Above WINDOW_BYTES only by the frame that was sent while the window was open.
  #outstanding: number;

  /** `outstanding`: WINDOW_BYTES for a window that stays shut until the receiver opens it with its first credit. */
  constructor(outstanding = 0) {
    this.#outstanding = outstanding;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** One more frame may go. */
  get open(): boolean {
    return this.#outstanding < WINDOW_BYTES;
  }

  sent(bytes: number): void {
    this.#outstanding += bytes;
  }

  /** Throws `bad_frame` when the peer credits more than it was sent. */
  credited(bytes: number): void {
    if (bytes > this.#outstanding) throw new MeshError("bad_frame", "a peer credited more bytes than it was sent");
    this.#outstanding -= bytes;
  }
}

export class ReceiveWindow {
  // Invariant: 0 <= owed <= outstanding. `owed` was consumed here and not credited yet.
  #outstanding: number;
  #owed = 0;

  /** `outstanding` as for the sender's window. */
  constructor(outstanding = 0) {
    this.#outstanding = outstanding;
  }

  /** Bytes that arrived and were not consumed yet. */
  get unconsumed(): number {
    return this.#outstanding - this.#owed;
  }

  /** Throws `bad_frame` when the peer sent although its window was shut: credits it has not seen yet only make it more careful. */
  received(bytes: number): void {
    if (this.#outstanding >= WINDOW_BYTES) throw new MeshError("bad_frame", "a peer overran the window of a stream");
    this.#outstanding += bytes;
  }

  /** The credit to send now; 0: not worth a frame yet. */
  consumed(bytes: number): number {
    this.#owed += bytes;
    return this.#owed < CREDIT_STEP_BYTES ? 0 : this.settle();
  }

  /** All credit that is owed, however little. */
  settle(): number {
    const owed = this.#owed;
    this.#owed = 0;
    this.#outstanding -= owed;
    return owed;
  }
}
