// What clients are told of an error of the application: that there was one. While it is being developed also which, and where.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "#proto";

/** `detailed` shows the inside of the application to whoever asks. */
export type ClientErrors = "brief" | "detailed";

/** `brief`, or the error with the place in the application where it was made. Never throws, whatever was thrown. */
export function failureText(error: unknown, brief: string, told: ClientErrors): string {
  if (told === "brief") return brief;
  try {
    const place = error instanceof Error ? placeIn(error.stack) : undefined;
    const name = error instanceof Error ? `${String(error.name)}: ` : "";
    return `${name}${messageOf(error)}${place === undefined ? "" : ` (${place})`}`;
  } catch {
    return messageOf(error);
  }
}

const FRAME = /^\s+at (?:async )?(?:.*\()?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*):(\d+):(\d+)\)?$/;

/** The uppermost frame that is neither Node's nor a package's; paths relative to where the developer is. */
function placeIn(stack: unknown): string | undefined {
  if (typeof stack !== "string") return undefined;
  for (const line of stack.split("\n")) {
    const [, file = "", row, column] = FRAME.exec(line) ?? [];
    if (file === "" || file.includes("node_modules")) continue;
    const name = file.startsWith("file://") ? fileURLToPath(file.replace(/[?#].*$/, "")) : file;
    const relative = path.relative(process.cwd(), name);
    return `${relative.startsWith("..") ? name : relative}:${row}:${column}`;
  }
  return undefined;
}
