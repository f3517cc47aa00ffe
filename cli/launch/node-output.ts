// What the nodes print, on stderr with the node's id in front. Until all are ready it is held back: when the start fails, one clear
// error is worth more than the same one from every node between the logs of the others.

import { faintOnStderr, say } from "../terminal.ts";

/** Enough for the story of a start; the oldest lines go first. */
const HELD_LINES_MAX = 500;

export class NodeOutput {
  readonly #quiet: boolean;
  #held: { readonly id: string; readonly text: string }[] | undefined = [];

  constructor(quiet: boolean) {
    this.#quiet = quiet;
    // A disk that is full costs what was to be shown, not the nodes. Without a reader the launcher ends, as ever.
    process.stderr.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOSPC") throw error;
    });
  }

  take(id: string, line: string): void {
    // A line of the node's own log names its node already.
    const text = line.includes(` ${id} `) || line.includes(` ${id}/`) ? line : `${faintOnStderr(id.padEnd(3))} ${line}`;
    if (this.#held === undefined) {
      if (!this.#quiet) say(text);
      return;
    }
    this.#held.push({ id, text });
    if (this.#held.length > HELD_LINES_MAX) this.#held.shift();
  }

  /** From now on lines are shown at once; those held back come first. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (!this.#quiet) for (const { text } of held) say(text);
  }

  /** The held lines of a node that did not say what was wrong. */
  explain(id: string): void {
    for (const { text } of this.#held?.filter((line) => line.id === id) ?? []) say(text);
  }
}
