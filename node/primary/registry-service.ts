// The registry as the outside asks it: request/reply on NATS, JSON in and out, answered by any node of the mesh. What is known of a
// session is asked of the workers at that moment; nothing about sessions is stored. docs/registry.md describes the subjects. A node
// whose lease has run out refuses: it may have been evicted, and what it knows of the mesh be of long ago.

import {
  MeshError,
  canOwn,
  integer,
  membersOf,
  nodeOf,
  parseSessionId,
  parseSessionKey,
  parseWorkerId,
  record,
  text,
  type SessionId,
  type View,
  type WorkerLoad,
} from "#proto";
import { ownerSlot, ownerTable, partitionOf, type OwnerTable } from "#placement";
import type { Clock, NatsLink } from "#mesh";
import type { NodeConfig } from "../config.ts";
import type { SessionInfo, WorkerAnswer, WorkerQuery } from "../ipc.ts";
import type { WorkerQuestions } from "./worker-questions.ts";

/** A page of `list`. More would let one question hold up every worker. */
const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;
/** Longer than a node gives its workers, so that a node with one hanging worker still answers for the others. */
const NODE_ANSWER_MS = 1_500;
/**
 * All nodes are asked and the first answer counts, so a node that must refuse leaves the others the time that their answers may take.
 * Too small: a client is refused what others know. Too large: it waits for longer than it asked for when all refuse.
 */
const REFUSE_AFTER_MS = 2_000;

/** What a life of the node knows. */
export interface RegistrySources {
  readonly questions: Pick<WorkerQuestions, "ask" | "askAll">;
  readonly view: () => View | undefined;
  readonly loads: () => ReadonlyMap<string, readonly WorkerLoad[]>;
  /** The node's lease has run out. */
  readonly suspended: () => boolean;
  readonly clock: Clock;
}

export class RegistryService {
  readonly #nats: NatsLink;
  readonly #config: NodeConfig;
  readonly #sources: RegistrySources;
  readonly #closing = new AbortController();
  readonly #stops: (() => Promise<void>)[] = [];
  #table: { readonly epoch: number; readonly owners: OwnerTable } | undefined;

  constructor(nats: NatsLink, config: NodeConfig, sources: RegistrySources) {
    this.#nats = nats;
    this.#config = config;
    this.#sources = sources;
  }

  async start(): Promise<void> {
    const subject = (name: string) => `mesh.${this.#config.mesh}.registry.${name}`;
    const stop = await this.#nats.service({
      name: `mesh-${this.#config.mesh}-registry`,
      version: "1.0.0",
      description: `Live sessions and members of the mesh "${this.#config.mesh}"`,
      endpoints: Object.entries<(body: Record<string, unknown>) => unknown>({
        get: (body) => this.#get(body),
        list: (body) => this.#list(body),
        count: (body) => this.#count(body),
        nodes: () => this.#nodes(),
        view: () => this.#currentView(),
      }).map(([name, answer]) => ({
        name,
        subject: subject(name),
        answer: async (body: unknown) => {
          if (this.#sources.suspended()) await this.#othersFirst();
          return this.#whileLive(() => answer(bodyOf(body)));
        },
      })),
    });
    this.#stops.push(stop);
    this.#stops.push(
      await this.#nats.serve(this.#nodeSubject(this.#config.node), {}, (body) =>
        this.#whileLive(() => this.#answerNode(bodyOf(body))),
      ),
    );
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#stops.splice(0).map((stop) => stop()));
  }

  /** Also the process that was stopped while it answered must not say what was true before. */
  async #whileLive<T>(answer: () => T | Promise<T>): Promise<T> {
    this.#refuseSuspended();
    const answered = await answer();
    this.#refuseSuspended();
    return answered;
  }

  #refuseSuspended(): void {
    if (!this.#sources.suspended()) return;
    throw new MeshError("suspended", "this node has lost its lease for now; ask again, so that another one answers", {
      node: this.#config.node,
      retryAfterMs: 500,
    });
  }

  async #othersFirst(): Promise<void> {
    const { signal } = this.#closing;
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const go = (): void => resolve();
    const cancel = this.#sources.clock.timer(REFUSE_AFTER_MS, go);
    signal.addEventListener("abort", go, { once: true });
    await promise;
    cancel();
    signal.removeEventListener("abort", go);
  }

  // ---- questions from outside ----

  async #get(body: Record<string, unknown>): Promise<{ session: SessionInfo | null }> {
    const id = parseSessionId(text(body["kind"], "kind"), text(body["name"], "name"));
    const owner = this.#ownerOf(id);
    if (owner !== undefined) {
      const [where] = await this.#askWorker(owner.node, owner.index, { op: "where", key: id.key });
      if (where?.op === "where" && where.owns) {
        if (where.host === undefined) return { session: null };
        return { session: await this.#describe(nodeOf(parseWorkerId(where.host)), id) };
      }
    }
    // The owner does not know yet (its partition changed hands just now) or does not answer: ask everybody.
    const found = await Promise.all(this.#nodeIds().map((node) => this.#describe(node, id)));
    return { session: found.find((session) => session !== null) ?? null };
  }

  async #list(
    body: Record<string, unknown>,
  ): Promise<{ sessions: SessionInfo[]; cursor?: string; missing?: string[] }> {
    const limit = Math.min(optionalWhole(body, "limit") ?? LIMIT_DEFAULT, LIMIT_MAX);
    if (limit < 1) throw new MeshError("bad_request", "limit must be 1 or more");
    const after = optionalText(body, "cursor") ?? "";
    const query: WorkerQuery = { op: "list", kind: optionalText(body, "kind"), after, limit };
    const { answers, missing } = await this.#askNodes(query, optionalText(body, "node"));
    const sessions = answers
      .flatMap((answer) => (answer.op === "list" ? answer.sessions : []))
      .map((session) => ({ key: `${session.kind}/${session.name}`, session }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    const page = sessions.slice(0, limit);
    const last = page.at(-1);
    return {
      sessions: page.map((entry) => entry.session),
      // A full page may be the end; then the next one is empty and has no cursor.
      ...(page.length === limit && last !== undefined ? { cursor: last.key } : {}),
      ...(missing.length === 0 ? {} : { missing }),
    };
  }

  async #count(
    body: Record<string, unknown>,
  ): Promise<{ count: number; byNode: Record<string, number>; missing?: string[] }> {
    const { byNode, missing } = await this.#askNodes(
      { op: "count", kind: optionalText(body, "kind") },
      optionalText(body, "node"),
    );
    const counts = Object.fromEntries(
      [...byNode].map(([node, answers]) => [
        node,
        answers.reduce((sum, answer) => sum + (answer.op === "count" ? answer.count : 0), 0),
      ]),
    );
    return {
      count: Object.values(counts).reduce((sum, count) => sum + count, 0),
      byNode: counts,
      ...(missing.length === 0 ? {} : { missing }),
    };
  }

  #nodes(): unknown {
    const view = this.#currentView();
    const loads = this.#sources.loads();
    return {
      epoch: view.epoch,
      nodes: view.nodes.map(({ id, state, role, zone, labels, gateway, admin, pid, workers }) => {
        const load = loads.get(id) ?? [];
        return {
          id,
          state,
          role,
          zone,
          labels,
          gateway,
          admin,
          pid,
          sessions: load.reduce((sum, worker) => sum + worker.sessions, 0),
          workers: workers.map((worker) => ({
            ...(load.find((one) => one.index === worker.index) ?? {
              index: worker.index,
              sessions: 0,
              utilisation: 0,
              lagMs: 0,
              rssBytes: 0,
            }),
            incarnation: worker.incarnation,
          })),
        };
      }),
    };
  }

  // ---- questions between nodes ----

  async #answerNode(body: Record<string, unknown>): Promise<{ answers: WorkerAnswer[] }> {
    const query = queryOf(record(body["query"], "query"));
    const worker = optionalWhole(body, "worker");
    const { questions } = this.#sources;
    if (worker === undefined) return { answers: await questions.askAll(query) };
    const answer = await questions.ask(worker, query);
    return { answers: answer === undefined ? [] : [answer] };
  }

  async #askNode(node: string, query: WorkerQuery, worker?: number): Promise<WorkerAnswer[]> {
    const body = { query, ...(worker === undefined ? {} : { worker }) };
    if (node === this.#config.node) return (await this.#answerNode(bodyOf(structuredClone(body)))).answers;
    const answer = await this.#nats.request(this.#nodeSubject(node), body, NODE_ANSWER_MS);
    // A peer of this mesh: its answers are of our own making, one version apart at most.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return record(answer, "answer")["answers"] as WorkerAnswer[];
  }

  /** Nodes that do not answer are named, not waited for: a registry that hides a gap would lie. */
  async #askNodes(query: WorkerQuery, only: string | undefined) {
    const nodes = this.#nodeIds().filter((node) => only === undefined || node === only);
    if (only !== undefined && nodes.length === 0) {
      throw new MeshError("bad_request", `no node "${only}" in the view; there are ${this.#nodeIds().join(", ")}`);
    }
    const byNode = new Map<string, WorkerAnswer[]>();
    const missing: string[] = [];
    await Promise.all(
      nodes.map(async (node) => {
        try {
          byNode.set(node, await this.#askNode(node, query));
        } catch {
          missing.push(node);
        }
      }),
    );
    return { answers: [...byNode.values()].flat(), byNode, missing };
  }

  async #askWorker(node: string, worker: number, query: WorkerQuery): Promise<WorkerAnswer[]> {
    return this.#askNode(node, query, worker).catch(() => []);
  }

  async #describe(node: string, id: SessionId): Promise<SessionInfo | null> {
    const answers = await this.#askNode(node, { op: "describe", key: id.key }).catch(() => []);
    for (const answer of answers) if (answer.op === "describe" && answer.session) return answer.session;
    return null;
  }

  #nodeSubject(node: string): string {
    // A node id may hold dots, which would split the subject.
    return `mesh.${this.#config.mesh}.node.${Buffer.from(node).toString("base64url")}.query`;
  }

  #nodeIds(): string[] {
    return this.#currentView().nodes.map((node) => node.id);
  }

  #currentView(): View {
    const view = this.#sources.view();
    if (view === undefined)
      throw new MeshError("no_host", "this node is not in the mesh now; ask again", { retryAfterMs: 500 });
    return view;
  }

  #ownerOf(id: SessionId): { readonly node: string; readonly index: number } | undefined {
    const view = this.#currentView();
    const owning = membersOf(view).filter(canOwn);
    if (this.#table?.epoch !== view.epoch) {
      this.#table = {
        epoch: view.epoch,
        owners: ownerTable(
          owning.map((member) => member.slot),
          this.#table?.owners,
        ),
      };
    }
    const slot = ownerSlot(this.#table.owners, partitionOf(id.key));
    const owner = owning.find((member) => member.slot === slot);
    return owner === undefined ? undefined : { node: owner.node.id, index: owner.worker.index };
  }
}

function bodyOf(body: unknown): Record<string, unknown> {
  if (body === undefined || body === null) return {};
  try {
    return record(body, "the question");
  } catch (error) {
    throw new MeshError("bad_request", MeshError.from(error).message);
  }
}

function queryOf(query: Record<string, unknown>): WorkerQuery {
  switch (query["op"]) {
    case "list":
      return {
        op: "list",
        kind: optionalText(query, "kind"),
        after: text(query["after"], "after"),
        limit: integer(query["limit"], "limit"),
      };
    case "count":
      return { op: "count", kind: optionalText(query, "kind") };
    case "describe":
      return { op: "describe", key: parseSessionKey(text(query["key"], "key")).key };
    case "where":
      return { op: "where", key: parseSessionKey(text(query["key"], "key")).key };
    default:
      throw new MeshError("bad_request", "query.op must be one of list, count, describe, where");
  }
}

function optionalText(body: Record<string, unknown>, name: string): string | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new MeshError("bad_request", `${name} must be a string`);
  return value;
}

function optionalWhole(body: Record<string, unknown>, name: string): number | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw new MeshError("bad_request", `${name} must be a whole number, 0 or more`);
  }
  return value;
}
