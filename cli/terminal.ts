// What people and programs see of the command: data goes to stdout, messages go to stderr. Colour only where a terminal shows it
// and NO_COLOR does not forbid it (styleText looks at both).

import { styleText } from "node:util";

/** A message for people. */
export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

/** Data: what a pipe gets. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value));
}

export function sayError(message: string): void {
  say(`${styleText("red", "error:", { stream: process.stderr })} ${message}`);
}

export function sayWarning(message: string): void {
  say(`${styleText("yellow", "warning:", { stream: process.stderr })} ${message}`);
}

/** For the id in front of a log line. */
export function faintOnStderr(text: string): string {
  return styleText("dim", text, { stream: process.stderr });
}

export function boldOnStdout(text: string): string {
  return styleText("bold", text, { stream: process.stdout });
}

/** A reader that left (`mesh session list | head`) ends the command quietly, as every Unix tool does. */
export function endWhenReaderLeaves(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}
