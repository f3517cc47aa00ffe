// What to type next, made from what the application serves: each line runs as it is printed. Pure, but for the look how `mesh` is
// called from here.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { NodeInfo } from "#node";

/** A command and what it does. */
export type Hint = readonly [command: string, what: string];

/** Kinds that are shown; all of them are on the page at `/`. */
const KINDS_MAX = 4;

/** `at`: base URL that the hints use first; the second node answers for the same sessions. */
export function hintsOf(at: string, nodes: readonly NodeInfo[], mesh: string): Hint[] {
  const [first, second = first] = nodes;
  if (first === undefined) return [];
  const { kinds, ownFetch } = first.serves;
  const hints: Hint[] = [];
  if (ownFetch) hints.push([`curl ${at}/`, "the application's own fetch"]);
  else {
    const served = kinds.filter(({ http, sockets }) => http || sockets).slice(0, KINDS_MAX);
    const asked = served.find(({ http }) => http)?.kind;
    for (const { kind, http } of served) {
      if (!http) continue;
      hints.push([`curl ${at}/sessions/${kind}/alice`, "a session, created by its first request"]);
      if (kind === asked && second !== undefined && second.gateway !== at) {
        hints.push([`curl ${second.gateway}/sessions/${kind}/alice`, `the same session through ${second.id}`]);
      }
    }
    for (const { kind, sockets } of served) {
      if (!sockets) continue;
      const url = `${at.replace(/^http/, "ws")}/sessions/${kind}/lobby`;
      hints.push([`${mesh} connect ${url}`, "a WebSocket to a session: each line is a message"]);
    }
  }
  return hints;
}

export function hintText(hints: readonly Hint[]): string {
  const width = Math.max(...hints.map(([command]) => command.length));
  return hints.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`).join("\n");
}

/** `mesh` as it can be typed in this folder. */
export function meshCommand(folder: string): string {
  if (packageName(folder) === "sessionmesh") return "npm run -s mesh --";
  for (let at = folder; ; at = path.dirname(at)) {
    if (existsSync(path.join(at, "node_modules", ".bin", "mesh"))) return "npx mesh";
    if (path.dirname(at) === at) return "mesh";
  }
}

function packageName(folder: string): string | undefined {
  try {
    return /"name": *"([^"]+)"/.exec(readFileSync(path.join(folder, "package.json"), "utf8"))?.[1];
  } catch {
    return undefined; // No package here.
  }
}
