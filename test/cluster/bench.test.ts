import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = path.join(import.meta.dirname, "..", "..");
const withoutWrk = spawnSync("wrk", ["-v"]).error !== undefined;

test.skipIf(withoutWrk)("the benchmarks still run, and measure the mesh beside its control", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-bench-test-"));
  try {
    const file = path.join(folder, "figures.json");
    const only = ["--only", "local-hit", "--only", "ws-echo"];
    const args = [path.join(ROOT, "bench", "run.ts"), "--quick", ...only, "--json", file];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { rows } = JSON.parse(readFileSync(file, "utf8")) as {
      rows: Record<"control" | "mesh", { perSecond: number }>[];
    };
    expect(rows).toHaveLength(2);
    for (const { control, mesh } of rows) {
      expect(control.perSecond).toBeGreaterThan(0);
      expect(mesh.perSecond).toBeGreaterThan(0);
    }
    expect(stdout).toContain("WebSocket echo");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the faults benchmark measures that a session which throws in a timer costs a plain server all, and a mesh one", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "mesh-bench-test-"));
  try {
    const file = path.join(folder, "figures.json");
    const args = [path.join(ROOT, "bench", "faults.ts"), "--only", "timer-throw", "--json", file];
    await promisify(execFile)(process.execPath, args);
    const { others, rows } = JSON.parse(readFileSync(file, "utf8")) as { others: number; rows: unknown };
    const nothing = { state: 0, requests: 0, sockets: 0, timers: 0, changed: [] };
    expect(rows).toMatchObject([
      { mesh: { answer: "500 session_crashed", ...nothing }, control: { answer: "broken off", state: others } },
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
