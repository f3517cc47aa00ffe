// Errors of the events of one session that lives on. They must not cost the worker a log line each without end, and a session that does
// nothing but fail is given a pause. One that also succeeds is not: else a single client that sends nonsense could close a room to all.
// Pure: the time comes in with each call. Made at a session's first error.

/** Errors with no event in between that went well. Too small: a burst of one client closes an idle room for a second. */
const ROW_MAX = 100;
/** In so short a time. */
const WINDOW_MS = 10_000;
/** New requests and handshakes are refused for so long. Open sockets and what is under way go on. */
const PAUSE_MS = 1_000;
/** Lines of one session in a window; what comes then is counted. */
const LINES_MAX = 20;

export class ErrorRow {
  #row = 0;
  #rowSince = 0;
  #pausedUntil = 0;
  #lines = 0;
  #linesSince = -Infinity;
  #untold = 0;

  /** False: this one is not worth another line. */
  failed(now: number): boolean {
    if (this.#row === 0 || now - this.#rowSince > WINDOW_MS) {
      this.#row = 0;
      this.#rowSince = now;
    }
    if (++this.#row >= ROW_MAX) {
      this.#row = 0;
      this.#pausedUntil = now + PAUSE_MS;
    }
    if (now - this.#linesSince > WINDOW_MS) {
      this.#lines = 0;
      this.#linesSince = now;
    }
    if (this.#lines === LINES_MAX) {
      this.#untold++;
      return false;
    }
    this.#lines++;
    return true;
  }

  succeeded(): void {
    this.#row = 0;
  }

  /** Milliseconds until the session takes events again; 0: now. */
  waitMs(now: number): number {
    return Math.max(0, this.#pausedUntil - now);
  }

  /** How many had no line since this was asked last. */
  takeUntold(): number {
    const untold = this.#untold;
    this.#untold = 0;
    return untold;
  }
}
