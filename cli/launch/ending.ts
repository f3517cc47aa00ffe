// When the command has to end: the first signal (Ctrl-C, SIGTERM, a closed terminal), or the end of the IPC channel to the
// process that started it, asks; the second one insists.

export interface Ending {
  readonly asked: Promise<void>;
  /** The second signal: leave at once. */
  readonly insisted: Promise<void>;
  readonly isAsked: () => boolean;
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
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, ask);
  if (process.connected) process.once("disconnect", ask);
  return { asked, insisted, isAsked: () => asks > 0 };
}
