// `.mesh/up.json`: how `mesh session list` finds the mesh that `mesh up` runs from the same folder, whose NATS has a random
// port. Written when the mesh is ready, removed at its end. One of a launcher that is gone counts as absent.

import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { integer, parseJson, text } from "#proto";

export interface UpFile {
  /** The launcher's; the file lives as long as it does. */
  readonly pid: number;
  readonly mesh: string;
  readonly nats: string;
}

const FILE = path.join(".mesh", "up.json");

export function writeUpFile(folder: string, up: UpFile): void {
  const file = path.join(folder, FILE);
  mkdirSync(path.dirname(file), { recursive: true });
  // By rename: a reader sees the old file or the new one, never half of one.
  writeFileSync(`${file}.${up.pid}`, `${JSON.stringify(up)}\n`, { mode: 0o600 });
  renameSync(`${file}.${up.pid}`, file);
}

/** The mesh that runs from this folder; undefined when none does. */
export function readUpFile(folder: string): UpFile | undefined {
  const up = parseUpFile(path.join(folder, FILE));
  return up !== undefined && isAlive(up.pid) ? up : undefined;
}

/** Removes the file unless a later launcher has put its own there. */
export function removeUpFile(folder: string, pid: number): void {
  const file = path.join(folder, FILE);
  if (parseUpFile(file)?.pid === pid) rmSync(file, { force: true });
}

function parseUpFile(file: string): UpFile | undefined {
  try {
    const value = parseJson(readFileSync(file), FILE);
    return { pid: integer(value["pid"], "pid"), mesh: text(value["mesh"], "mesh"), nats: text(value["nats"], "nats") };
  } catch {
    // Absent, unreadable or of another version: then the caller's other sources count.
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there and somebody else's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
