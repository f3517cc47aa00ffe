// One fault in one session of a server, and what came of it.

import { setTimeout as sleep } from "node:timers/promises";
import { ask, askUntilOk } from "./client.ts";
import type { Harm, Others } from "./others.ts";
import { boundMemory, type Subject } from "./subject.ts";

export interface Row extends Harm {
  readonly fault: string;
  /** What the client of the faulty session saw. */
  readonly answer: string;
  /** From the fault until the faulty session's name answers. */
  readonly againMs: number;
}

/** These are never answered, and nothing happens. */
const UNANSWERED: ReadonlySet<string> = new Set(["never-settles", "body-never-ends"]);
const UNANSWERED_MS = 500;
/** What these leave behind is felt later. The server is not used any more afterwards. */
export const LINGERING: ReadonlySet<string> = new Set(["open-files"]);
const LINGERING_MS = 12_000;
/** A fault has struck by then, slow leaks too. */
const STRUCK_MS = 30_000;

/** `name` must be new. */
export async function measure(
  subject: Subject,
  others: Others,
  { kind, name, fault }: { readonly kind: string; readonly name: string; readonly fault: string },
): Promise<Row> {
  const { port } = subject;
  const path = `/sessions/${kind}/${name}/`;
  await others.settle();
  await askUntilOk(port, path);
  using _bound = boundMemory(() => others.pid);
  let answer = "";
  let againMs = 0;
  const harm = await others.during(async () => {
    const sinceMs = performance.now();
    const signal = AbortSignal.timeout(UNANSWERED.has(fault) ? UNANSWERED_MS : STRUCK_MS);
    const struck = ask(port, `${path}fault/${fault}`, { signal });
    if (!UNANSWERED.has(fault)) await struck;
    if (LINGERING.has(fault)) await sleep(LINGERING_MS);
    await askUntilOk(port, path);
    againMs = performance.now() - sinceMs;
    const { status, body } = (await struck) ?? { status: 0, body: "" };
    if (status === 404) throw new Error(`there is no fault "${fault}"`);
    answer = status === 0 ? (signal.aborted ? "none" : "broken off") : [status, codeOf(body)].join(" ").trim();
  });
  return { fault, answer, againMs, ...harm };
}

function codeOf(body: string): string {
  return /"code":"(\w+)"/.exec(body)?.[1] ?? "";
}
