// What the launcher and a keeper (../keeper.ts) say to each other, and how each reads it.

import { integer, list, oneOf, parseJson, text } from "#proto";

/** What a keeper is told, as JSON in its only argument. */
export interface KeeperOrder {
  readonly command: string;
  readonly args: readonly string[];
  /** Sources of regular expressions, see InfraNeed. */
  readonly readyPattern: string;
  readonly portPattern: string;
  /** Removed after the server has ended; empty: nothing is. */
  readonly removeDir: string;
}

/** What a keeper says, one line of JSON each. */
export type KeeperReport =
  | { readonly type: "ready"; readonly port: number; readonly pid: number }
  | { readonly type: "ended"; readonly why: string };

/** Throws `bad_frame`. */
export function readOrder(argument: string): KeeperOrder {
  const value = parseJson(Buffer.from(argument), "keeper order");
  return {
    command: text(value["command"], "command"),
    args: list(value["args"], "args").map((entry, at) => text(entry, `args[${at}]`)),
    readyPattern: text(value["readyPattern"], "readyPattern"),
    portPattern: text(value["portPattern"], "portPattern"),
    removeDir: text(value["removeDir"], "removeDir"),
  };
}

/** Throws `bad_frame`. */
export function readReport(line: string): KeeperReport {
  const value = parseJson(Buffer.from(line), "keeper report");
  if (oneOf(value["type"], ["ready", "ended"], "type") === "ended")
    return { type: "ended", why: text(value["why"], "why") };
  return { type: "ready", port: integer(value["port"], "port"), pid: integer(value["pid"], "pid") };
}
