// When the command has to end: the first signal (Ctrl-C, SIGTERM, a closed terminal), or the end of the IPC channel to the
// process that started it, asks; the second one insists.

export interface Ending {
  readonly asked: Promise<void>;
  /** The second signal: leave at once. */
  readonly insisted: Promise<void>;
  readonly isAsked: () => boolean;
}

/** A person who presses Ctrl-C again does it later than this; a copy of the same signal comes sooner. */
const ECHO_MS = 300;

/** Under `npm start` one Ctrl-C arrives twice, from the terminal and from npm: the copy must not count as insistence. */
export function onSignal(signal: NodeJS.Signals, listener: () => void): void {
  let last = -Infinity;
  process.on(signal, () => {
    const now = performance.now();
    if (now - last < ECHO_MS) return;
    last = now;
    listener();
  });
}

/** For the whole life of the process: a command ends once. */
export function watchForEnding(): Ending {
  let asks = 0;
  let onAsked = (): void => {};
  let onInsisted = (): void => {};
  const asked = new Promise<void>((resolve) => (onAsked = resolve));
  const insisted = new Promise<void>((resolve) => (onInsisted = resolve));
  const ask = (): void => {
    asks += 1;
    if (asks === 1) onAsked();
    else onInsisted();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) onSignal(signal, ask);
  if (process.connected) process.once("disconnect", ask);
  return { asked, insisted, isAsked: () => asks > 0 };
}
