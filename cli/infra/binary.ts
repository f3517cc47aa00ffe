// Looks for an executable as a shell does, and also where Debian puts servers, which is not on every user's PATH.

import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const SERVER_DIRS = ["/usr/sbin", "/usr/local/sbin"];

/** `--version` answers at once or the binary is not what its name says. */
const VERSION_MS = 5_000;

export interface Binary {
  readonly file: string;
  /** For people: `on PATH` or `in /usr/sbin`. */
  readonly where: string;
}

/** `pathVariable` is the value of PATH. */
export function findBinary(
  name: string,
  pathVariable: string,
  extraDirs: readonly string[] = SERVER_DIRS,
): Binary | undefined {
  const dirs = pathVariable.split(path.delimiter).filter((dir) => dir !== "");
  for (const dir of dirs)
    if (isExecutable(path.join(dir, name))) return { file: path.join(dir, name), where: "on PATH" };
  for (const dir of extraDirs)
    if (isExecutable(path.join(dir, name))) return { file: path.join(dir, name), where: `in ${dir}` };
  return undefined;
}

/** `2.9.10` of `nats-server: v2.9.10`; throws when the binary cannot be run. */
export async function versionOf(file: string): Promise<string> {
  const { stdout } = await promisify(execFile)(file, ["--version"], { timeout: VERSION_MS });
  return /\bv?=?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? "of unknown version";
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
