// The transcripts of docs/: what a page tells its reader to type is typed, with the files that it shows,
// and the answers are those on the page. `mesh dev` is the page's own; ports are free ones.

import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { transcriptsOf, type Step } from "../docs/transcripts.ts";
import { killMarked, markedEnv } from "./processes.ts";

const ROOT = path.join(import.meta.dirname, "..", "..");
/** As the pages print it. */
const PRINTED = "127.0.0.1:8080";

const mark = randomUUID();
let folder = "";
beforeEach(() => {
  // Inside the repository, so that "sessionmesh" is this one.
  folder = mkdtempSync(path.join(ROOT, "test", "docs", ".typed-"));
});
afterEach(() => {
  killMarked(mark);
  rmSync(folder, { recursive: true, force: true });
});

const pages = globSync("docs/*.md", { cwd: ROOT }).sort();
const transcripts = pages.flatMap((page) => transcriptsOf(page, readFileSync(path.join(ROOT, page), "utf8")));

describe.each(transcripts)("$page, application at line $line", ({ steps }) => {
  test("answers as the page says", async () => {
    let gateway = "";
    for (const step of steps) {
      if (step.is === "file") write(step, gateway);
      else if (/^npx mesh dev\b/.test(step.command)) gateway = await startDev(step.command);
      else expect(await run(step.command, gateway), step.command).toEqual(matching(step.answer));
    }
    expect(gateway, "the page starts its application").not.toBe("");
  });
});

/** What comes after the start is a client of the gateway. */
function write({ name, text }: Extract<Step, { is: "file" }>, gateway: string): void {
  writeFileSync(path.join(folder, name), gateway === "" ? text : text.replaceAll(PRINTED, new URL(gateway).host));
}

async function startDev(command: string): Promise<string> {
  const args = command.split(" ").slice(2);
  const child = spawn(
    process.execPath,
    [path.join(ROOT, "cli", "mesh.ts"), ...args, "--json", "--port", "0", "--admin-port", "0"],
    { cwd: folder, env: environment(), stdio: ["ignore", "pipe", "inherit"] },
  );
  const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return (JSON.parse(line.value ?? "{}") as { gateway: string }).gateway;
}

async function run(command: string, gateway: string): Promise<string> {
  const typed = command.replaceAll(PRINTED, new URL(gateway).host).replace(/^curl /, "curl -sS ");
  const { stdout } = await promisify(execFile)("sh", ["-c", typed], { cwd: folder, env: environment() });
  return stdout.replaceAll(new URL(gateway).host, PRINTED).replaceAll("\r", "").trimEnd();
}

/** `...` on the page stands for whatever differs from run to run. */
function matching(answer: string): unknown {
  if (!answer.includes("...")) return answer;
  const pattern = answer.split("...").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return expect.stringMatching(new RegExp(`^${pattern.join("[^]*")}$`));
}

function environment(): NodeJS.ProcessEnv {
  const { NATS_URL: _, ...env } = process.env;
  return { ...env, ...markedEnv(mark), PATH: `${path.dirname(process.execPath)}:${env["PATH"] ?? ""}` };
}
