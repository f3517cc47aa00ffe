// A guarded process stays guarded, the test runner too: a child process is.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";

interface Report {
  readonly outside: unknown;
  readonly banned: Readonly<Record<string, string>>;
  readonly allowed: Readonly<Record<string, string>>;
  readonly listeners: unknown;
  readonly pinned: unknown;
  readonly killed: string;
  readonly lines: readonly string[];
  readonly again: number;
}

let report: Report;
beforeAll(async () => {
  const fixture = fileURLToPath(new URL("../../fixtures/guarded-process.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--no-warnings", fixture]);
  report = JSON.parse(stdout) as Report;
});

test("code that is no session's has all of Node's process", () => {
  expect(report.outside).toEqual({ moved: "/", mask: 0o077, named: true, off: true });
});

test("a session is killed for what would hit its process, and told what to do instead", () => {
  expect(Object.keys(report.banned)).toHaveLength(22);
  for (const [what, message] of Object.entries(report.banned)) {
    expect([what, message]).toEqual([
      what,
      expect.stringMatching(
        /^the session was ended because it called process\.\S+\(.*\), which would hit every session/,
      ),
    ]);
  }
  expect(report.banned["exit"]).toContain(
    "process.exit(), which would hit every session of its process: call ctx.destroy()",
  );
});

test("what hits nobody else goes on", () => {
  expect(Object.entries(report.allowed).filter(([, outcome]) => outcome !== "done")).toEqual([]);
  expect(report.killed).toBe("SIGKILL");
});

test("listeners of a session run as that session and cannot reach faults", () => {
  expect(report.listeners).toEqual({
    heard: [["SIGHUP", true]],
    faults: ["Error: of a listener", "Error: of a listener"],
    ofFaults: 0,
  });
});

test("what a session assigns on the process is for itself alone", () => {
  expect(report.pinned).toEqual({
    assigned: "done",
    "patched emit": "done",
    "patched write": "done",
    deleted: false,
    redefined: false,
    emitKept: false,
    cwdKept: "mine",
    wrapped: "done",
    same: true,
  });
});

test("each kill is one line, and what is without effect is told once", () => {
  expect(report.lines.filter((line) => line === "error session killed")).toHaveLength(23);
  expect(report.lines).toContain("warn process.emit is changed for no other than the session that assigns it");
  expect(report.lines.filter((line) => line.startsWith("warn"))).toHaveLength(7);
  expect(report.again).toBe(0);
});
