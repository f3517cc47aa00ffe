// The keeper: a tiny process between the launcher and a server such as nats-server. It starts the server and holds the other end
// of a pipe from the launcher. When that pipe closes, because the launcher asked or because it was killed, the server ends and
// its temporary folder goes. A launcher killed with SIGKILL cannot clean up; this process can.
//
// Spoken to through one argument (KeeperOrder as JSON) and stdin; it answers with lines of JSON (KeeperReport) on stdout.

import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { readOrder, type KeeperReport } from "./infra/keeper-talk.ts";

/** Servers end within 100 ms of SIGTERM; one that hangs must not outlive its mesh. */
const TERM_MS = 2_000;
/** What is kept of the server's output, for the message when it does not start. */
const TAIL_CHARACTERS = 4_000;

const order = readOrder(process.argv[2] ?? "");
const server = spawn(order.command, [...order.args], { stdio: ["ignore", "pipe", "pipe"] });

let tail = "";
let ready = false;
let leaving = false;

function report(line: KeeperReport): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function read(chunk: string): void {
  tail = (tail + chunk).slice(-TAIL_CHARACTERS);
  if (ready || !new RegExp(order.readyPattern).test(tail)) return;
  ready = true;
  report({ type: "ready", port: Number(new RegExp(order.portPattern).exec(tail)?.[1] ?? 0), pid: server.pid ?? 0 });
}

function end(): void {
  if (order.removeDir !== "") rmSync(order.removeDir, { recursive: true, force: true });
  process.exit(0);
}

function leave(): void {
  if (leaving) return;
  leaving = true;
  if (server.exitCode !== null || server.signalCode !== null || server.pid === undefined) return end();
  server.once("exit", end);
  server.kill("SIGTERM");
  setTimeout(() => server.kill("SIGKILL"), TERM_MS);
}

server.stdout.setEncoding("utf8").on("data", read);
server.stderr.setEncoding("utf8").on("data", read);
server.once("error", (error) => {
  report({ type: "ended", why: error.message });
  leave();
});
server.once("close", (code, signal) => {
  if (leaving) return;
  report({ type: "ended", why: `it ended with ${signal ?? `code ${code}`}${ready ? "" : `\n${tail.trim()}`}` });
  leave();
});

// The launcher may be gone in the middle of a report: the close of stdin says so as well, and ends us.
process.stdout.on("error", leave);
process.stdin.on("end", leave).on("error", leave).resume();
// Ctrl-C in a terminal reaches this process group only when somebody aims at it; the order of the end is the launcher's.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, leave);
