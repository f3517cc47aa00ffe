// Splits a stream of text into lines. A line without an end must not grow in memory: past the limit it is cut.

import type { Readable } from "node:stream";

/** Longer than any log line that a person reads. */
const LINE_CHARACTERS_MAX = 16_384;

export function eachLine(stream: Readable, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
    if (rest.length > LINE_CHARACTERS_MAX) {
      onLine(rest);
      rest = "";
    }
  });
  stream.on("end", () => {
    if (rest !== "") onLine(rest);
  });
}
