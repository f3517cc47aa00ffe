// An error with all that led to it, as text for a log: its stack, the chain of its causes, the errors of an AggregateError. "fetch failed"
// alone tells nothing. Whatever was thrown may lie: getters may throw, and chains may be circles.

import { messageOf } from "./error.ts";

/** Errors that one trace shows at most; chains of causes are rarely deeper than three, and Node tries a few addresses of a host. */
const ERRORS_MAX = 16;
/** Characters of a trace at most: several screens, and some twenty stacks. */
const TRACE_LENGTH_MAX = 16_384;

/** The stack of what was thrown, and below it those of its causes and errors, indented. A value that is no error is its own text. */
export function traceOf(thrown: unknown): string {
  const lines: string[] = [];
  add(thrown, "", "", lines, new Set());
  const text = lines.join("\n");
  return text.length > TRACE_LENGTH_MAX ? `${text.slice(0, TRACE_LENGTH_MAX)}...` : text;
}

function add(thrown: unknown, label: string, indent: string, lines: string[], seen: Set<unknown>): void {
  if (seen.has(thrown)) {
    lines.push(`${indent}${label}[shown above]`);
    return;
  }
  if (seen.size === ERRORS_MAX) return;
  if (isObject(thrown)) seen.add(thrown);
  lines.push(`${indent}${label}${textOf(thrown).replaceAll("\n", `\n${indent}`)}`);
  const deeper = `${indent}  `;
  const cause = readOf(thrown, "cause");
  if (cause !== undefined) add(cause, "[cause]: ", deeper, lines, seen);
  const errors = readOf(thrown, "errors");
  if (!Array.isArray(errors)) return;
  for (const [at, error] of errors.slice(0, ERRORS_MAX).entries()) add(error, `[errors][${at}]: `, deeper, lines, seen);
}

/** The stack, with the code of errors of Node where their message does not tell it. */
function textOf(thrown: unknown): string {
  const stack = readOf(thrown, "stack");
  const text = typeof stack === "string" && stack !== "" ? stack : messageOf(thrown);
  const code = readOf(thrown, "code");
  return typeof code === "string" && !text.includes(code) ? `${text}\n    code: ${code}` : text;
}

/** A property of an error. Of other objects nothing is read: they may be the session's state. */
function readOf(thrown: unknown, name: string): unknown {
  try {
    return thrown instanceof Error ? Reflect.get(thrown, name) : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
