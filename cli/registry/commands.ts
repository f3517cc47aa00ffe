// The commands that ask: `mesh session list|get|count`, `mesh node list`, `mesh registry view`. With --json the registry's answer is
// printed as it came; without it, as a table.

import { MeshError, integer, list, parseSessionKey, record } from "#proto";
import { duration, renderTable, type Column } from "../table.ts";
import { boldOnStdout, print, printJson, say } from "../terminal.ts";
import { readNodes, readSession, readSessions } from "./answer.ts";
import { queryRegistry } from "./query.ts";
import { registryPlace, type RegistryOptions, type RegistryPlace } from "./where.ts";

export interface QueryOptions extends RegistryOptions {
  readonly json?: true;
}

export interface CountOptions extends QueryOptions {
  readonly kind?: string;
  readonly node?: string;
}

export interface ListOptions extends CountOptions {
  readonly limit?: number;
  readonly cursor?: string;
}

export async function listSessions(options: ListOptions): Promise<void> {
  const { kind, node, limit, cursor } = options;
  const answer = await queryRegistry(placeOf(options), "list", { kind, node, limit, cursor });
  if (options.json === true) return printJson(answer);
  const now = Date.now();
  const sessions = readSessions(answer);
  const columns = columnsOf(["SESSION", "NODE", "WORKER", "STATE"], ["SOCKETS", "IN FLIGHT", "AGE", "IDLE"]);
  const rows = sessions.map((session) => {
    const age = duration(now - Date.parse(session.createdAt));
    const idle = duration(now - Date.parse(session.lastActiveAt));
    const { node: host, worker, state, sockets, inFlight } = session;
    return [`${session.kind}/${session.name}`, host, worker, state, sockets, inFlight, age, idle];
  });
  print(renderTable(columns, rows, boldOnStdout));
  if (sessions.length === 0) say("no live sessions");
  sayMissing(answer);
  if (typeof answer["cursor"] === "string") say(`more follow: --cursor ${shellWord(answer["cursor"])}`);
}

/** Throws `not_active` when the session is not live. */
export async function getSession(key: string, options: QueryOptions): Promise<void> {
  const { kind, name } = parseSessionKey(key);
  const answer = await queryRegistry(placeOf(options), "get", { kind, name });
  if (answer["session"] === null || answer["session"] === undefined) {
    throw new MeshError("not_active", `${key} is not active: no worker hosts it now`, { session: key });
  }
  if (options.json === true) return printJson(answer["session"]);
  const session = readSession(answer["session"], "session");
  print(
    renderTable(
      [{ title: "FIELD" }, { title: "VALUE" }],
      Object.entries(session).map(([field, value]) => [field, value]),
      boldOnStdout,
    ),
  );
}

export async function countSessions(options: CountOptions): Promise<void> {
  const { kind, node } = options;
  const answer = await queryRegistry(placeOf(options), "count", { kind, node });
  if (options.json === true) return printJson(answer);
  const byNode = Object.entries(record(answer["byNode"], "byNode"))
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([id, count]) => [id, integer(count, `byNode.${id}`)]);
  print(
    renderTable(
      [{ title: "NODE" }, { title: "SESSIONS", align: "right" }],
      [...byNode, ["all", integer(answer["count"], "count")]],
      boldOnStdout,
    ),
  );
  sayMissing(answer);
}

export async function listNodes(options: QueryOptions): Promise<void> {
  const answer = await queryRegistry(placeOf(options), "nodes", {});
  if (options.json === true) return printJson(answer);
  const columns = columnsOf(["NODE", "STATE", "ROLE", "ZONE", "GATEWAY"], ["PID", "WORKERS", "SESSIONS"]);
  const rows = readNodes(answer).map((node) => {
    const zone = node.zone === "" ? "-" : node.zone;
    return [node.id, node.state, node.role, zone, node.gateway, node.pid, node.workers, node.sessions];
  });
  print(renderTable(columns, rows, boldOnStdout));
  say(`epoch ${integer(answer["epoch"], "epoch")}`);
}

/** The record that all nodes agree on. It is for debugging, so people get it as JSON too, only indented. */
export async function showView(options: QueryOptions): Promise<void> {
  const answer = await queryRegistry(placeOf(options), "view", {});
  if (options.json === true) return printJson(answer);
  list(answer["nodes"], "nodes");
  print(JSON.stringify(answer, null, 2));
}

/** Texts stand to the left, numbers to the right. */
function columnsOf(texts: readonly string[], numbers: readonly string[]): Column[] {
  return [...texts.map((title) => ({ title })), ...numbers.map((title) => ({ title, align: "right" as const }))];
}

/** A table that hides a gap would lie. */
function sayMissing(answer: Record<string, unknown>): void {
  const missing = list(answer["missing"] ?? [], "missing");
  if (missing.length > 0) say(`no answer from ${missing.join(", ")}: sessions there are not shown`);
}

function placeOf(options: RegistryOptions): RegistryPlace {
  return registryPlace(options, process.cwd());
}

/** For pasting into a shell: a cursor holds a session name, and names come from clients. */
function shellWord(text: string): string {
  return /^[\w./:@=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
