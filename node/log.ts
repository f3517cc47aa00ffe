// The log of a process: one line an event on stderr, as text for people or JSON for machines. stdout is for data.

import { traceOf } from "#proto";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

/** Lines on stderr, as text or JSON (MESH_LOG). `debug` lines appear when MESH_DEBUG is set. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** `base` fields stand in every line, e.g. the node and the worker. `debug` lines appear when MESH_DEBUG is set. */
export function createLog(
  format: "json" | "text",
  base: LogFields = {},
  write: (line: string) => void = (line) => process.stderr.write(line),
): Log {
  const debugging = process.env["MESH_DEBUG"] !== undefined;
  const lineOf = format === "json" ? jsonLine : textLine;
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void =>
      write(lineOf(level, message, { ...base, ...fields }));
  return { debug: debugging ? at("debug") : () => {}, info: at("info"), warn: at("warn"), error: at("error") };
}

function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  return `${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }, printable())}\n`;
}

function textLine(level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date().toISOString().slice(11, 23);
  const { node, worker, stack, ...rest } = fields;
  const where = node === undefined ? "" : ` ${String(node)}${worker === undefined ? "" : `/${String(worker)}`}`;
  const pairs = Object.entries(rest).map(([key, value]) => ` ${key}=${inline(value)}`);
  return `${time} ${level.padEnd(5)}${where} ${message}${pairs.join("")}${stack === undefined ? "" : `\n${String(stack)}`}\n`;
}

function inline(value: unknown): string {
  if (typeof value === "string") return /^[\w./:@+-]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value, printable()) ?? String(value);
}

/** A JSON replacer for what JSON cannot say: errors, big integers and circles must not cost us the line. */
function printable(): (key: string, value: unknown) => unknown {
  const seen = new WeakSet();
  return (_key, value) => {
    if (typeof value === "bigint") return value.toString();
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return "[seen above]";
    seen.add(value);
    return value instanceof Error ? { name: value.name, message: value.message, stack: traceOf(value) } : value;
  };
}
