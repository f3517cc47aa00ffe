// Frames that arrived and were not handled yet. Handling a frame can run session code, and a session that is terminated in mid-run takes
// the loop around it along: the frames behind it stay here and are handled by the next `drain`.

import type { Frame } from "#proto";

export class Inbox {
  readonly #handle: (frame: Frame) => void;
  #batches: (readonly Frame[])[] = [];
  #at = 0;

  constructor(handle: (frame: Frame) => void) {
    this.#handle = handle;
  }

  push(batch: readonly Frame[]): void {
    this.#batches.push(batch);
    this.drain();
  }

  /** Throws what handling a frame throws; that frame does not come again. */
  drain(): void {
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[0]) {
      const frame = batch[this.#at];
      if (frame === undefined) {
        this.#batches.shift();
        this.#at = 0;
      } else {
        // First, so that a frame whose handling never returns is not handled twice.
        this.#at += 1;
        this.#handle(frame);
      }
    }
  }

  clear(): void {
    this.#batches = [];
    this.#at = 0;
  }
}
