// HTTP load: `wrk`, one thread on the load core, 64 keep-alive connections, driven by a Lua script of a few lines.

import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { startPinned } from "../process.ts";

/** Which paths are asked for: the same ones in turn, or a new one each time. */
export type Paths = { readonly inTurn: readonly string[] } | { readonly fresh: string };

export interface LoadResult {
  /** Requests, or messages and their echoes. */
  readonly count: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const CONNECTIONS = 64;
/** The marker before the one line that the script prints. */
const RESULT = "RESULT ";

export function hasWrk(): boolean {
  return spawnSync("wrk", ["-v"]).error === undefined;
}

/** Throws when any request fails: a server that refuses is fast. */
export async function runWrk(port: number, paths: Paths, seconds: number): Promise<LoadResult> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-bench-wrk-"));
  try {
    const script = path.join(folder, "load.lua");
    writeFileSync(script, scriptOf(port, paths, folder));
    const child = startPinned({
      core: "load",
      command: "wrk",
      args: ["-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, `http://127.0.0.1:${port}/`],
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (child.stdout === null || child.stderr === null) throw new Error("wrk has no output");
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    const line = out.split("\n").find((one) => one.startsWith(RESULT));
    if (code !== 0 || line === undefined) throw new Error(`wrk failed with code ${String(code)}\n${out}${err}`);
    const { count, us, failed, p50Us, p99Us } = JSON.parse(line.slice(RESULT.length)) as Record<string, number>;
    if (count === undefined || us === undefined || p50Us === undefined || p99Us === undefined) throw new Error(line);
    if (failed !== 0) throw new Error(`${failed} of ${count} requests failed\n${out}`);
    if (count === 0) throw new Error(`no request was answered in ${seconds} s`);
    return { count, perSecond: (count / us) * 1e6, p50Ms: p50Us / 1000, p99Ms: p99Us / 1000 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function scriptOf(port: number, paths: Paths, folder: string): string {
  const tail = ` HTTP/1.1\\r\\nHost: 127.0.0.1:${port}\\r\\n\\r\\n`;
  return `${"fresh" in paths ? freshScript(paths.fresh, tail) : inTurnScript(paths.inTurn, tail, folder)}
function done(summary, latency)
  local e = summary.errors
  print(string.format('${RESULT}{"count":%d,"us":%d,"failed":%d,"p50Us":%d,"p99Us":%d}', summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
`;
}

function freshScript(prefix: string, tail: string): string {
  return `
local at = 0
function request()
  at = at + 1
  return "GET ${prefix}" .. at .. "${tail}"
end`;
}

function inTurnScript(list: readonly string[], tail: string, folder: string): string {
  const file = path.join(folder, "paths");
  writeFileSync(file, list.join("\n"));
  return `
local requests, at = {}, 0
for line in io.lines("${file}") do requests[#requests + 1] = "GET " .. line .. "${tail}" end
function request()
  at = at % #requests + 1
  return requests[at]
end`;
}
