// The nodes that a launcher started: waits until all are ready, says in one line what dies and when it is back, and leaves no
// process behind. One that died is started again at its ports, after growing pauses when it keeps dying; the others go on
// meanwhile, and what the mesh makes of it is the mesh's business.

import type { NodeInfo } from "#node";
import { MeshError } from "#proto";
import { say } from "../terminal.ts";
import { exitText, startNodeProcess, type NodeExit, type NodeOrder, type NodeProcess } from "./node-process.ts";

/** On SIGINT a node gives its sessions 2 s and its workers 1 s more; after that it is stuck. */
const STOP_MS = 4_000;
/** Workers notice the death of their primary at once. One that is stuck in a session's loop does not, and is killed. */
const ORPHAN_MS = 2_000;
/** A node that lived so long is healthy: its death starts the pauses anew. */
const HEALTHY_MS = 10_000;
/** A start takes a second of a core, which those who take over the names of the dead one have more use for at first. */
const PAUSE_MIN_MS = 300;
/** Doubles up to this. Larger: a cause that has gone away is found out late. */
const PAUSE_MAX_MS = 10_000;

export interface FleetNode {
  readonly id: string;
  /** `before`: what it was when it was ready the last time, to be started again at the same ports. */
  readonly order: (before: NodeInfo | undefined) => NodeOrder;
}

export class Fleet {
  readonly #members: readonly Member[];
  readonly #restart: boolean;
  readonly #allGone = Promise.withResolvers<void>();
  /** Whose process group may still have members. A group is forgotten soon: later its number may be somebody else's. */
  readonly #groups = new Set<NodeProcess>();
  /** From now on what dies is started again, or at least told. */
  #watching = false;
  #stopping = false;

  constructor(nodes: readonly FleetNode[], options: { readonly restart: boolean }) {
    this.#restart = options.restart;
    this.#members = nodes.map((node) => new Member(node));
    for (const member of this.#members) this.#start(member);
  }

  /** In the order of their start. Rejects with the first error of a node that cannot start; the others run on until `stop`. */
  async ready(): Promise<NodeInfo[]> {
    const infos = await Promise.all(
      this.#members.map((member) => member.process?.ready ?? Promise.reject(gone(member))),
    );
    this.#watching = true;
    // One may have died while the last was starting.
    for (const member of this.#members) if (member.exit !== undefined) this.#died(member, member.exit);
    return infos;
  }

  /** Resolves when no node is left, nor is to come. */
  get allGone(): Promise<void> {
    return this.#allGone.promise;
  }

  /** Ends every node, those that are stuck by force: after a few seconds, or at once when `insisted` resolves. */
  async stop(insisted: Promise<void>): Promise<void> {
    this.#stopping = true;
    for (const member of this.#members) clearTimeout(member.pause);
    this.#noteGone();
    for (const node of this.#groups) node.signal("SIGINT");
    let timer: NodeJS.Timeout | undefined;
    const stuck = new Promise<void>((resolve) => (timer = setTimeout(resolve, STOP_MS)));
    await Promise.race([this.#allGone.promise, stuck, insisted]);
    clearTimeout(timer);
    for (const node of this.#groups) node.killGroup();
    await this.#allGone.promise;
  }

  get #alive(): number {
    return this.#members.filter((member) => member.process !== undefined).length;
  }

  #start(member: Member): void {
    const node = startNodeProcess(member.node.order(member.info));
    member.process = node;
    member.exit = undefined;
    member.bornAt = performance.now();
    this.#groups.add(node);
    void node.ready.then((info) => this.#isReady(member, info)).catch((error: unknown) => (member.error = error));
    void node.exited.then((exit) => this.#onExit(member, node, exit));
  }

  #isReady(member: Member, info: NodeInfo): void {
    member.info = info;
    member.error = undefined;
    if (member.diedAt === undefined) return;
    const seconds = ((performance.now() - member.diedAt) / 1_000).toFixed(1);
    member.diedAt = undefined;
    say(`node ${info.id} is back after ${seconds} s: pid ${info.pid}, ${info.gateway}`);
  }

  #onExit(member: Member, node: NodeProcess, exit: NodeExit): void {
    member.process = undefined;
    member.exit = exit;
    const kill = setTimeout(() => {
      node.killGroup();
      this.#groups.delete(node);
    }, ORPHAN_MS);
    // The launcher's own end kills what is left.
    kill.unref();
    if (this.#watching && !this.#stopping) this.#died(member, exit);
    this.#noteGone();
  }

  #died(member: Member, exit: NodeExit): void {
    const now = performance.now();
    if (now - member.bornAt >= HEALTHY_MS) member.pauseMs = PAUSE_MIN_MS;
    const then = this.#restart ? `; starting it again${pauseText(member.pauseMs)}` : "";
    if (member.diedAt === undefined)
      say(`node ${member.node.id} died (${exitText(exit)}); ${leftText(this.#alive)}${then}`);
    else say(`node ${member.node.id} did not start: ${errorText(member.error, exit)}${then}`);
    if (!this.#restart) return;
    member.diedAt ??= now;
    member.pause = setTimeout(() => this.#start(member), member.pauseMs);
    member.pauseMs = Math.min(member.pauseMs * 2, PAUSE_MAX_MS);
  }

  #noteGone(): void {
    if (this.#alive === 0 && (this.#stopping || !this.#watching || !this.#restart)) this.#allGone.resolve();
  }
}

/** A node through all its lives. */
class Member {
  readonly node: FleetNode;
  process: NodeProcess | undefined;
  info: NodeInfo | undefined;
  exit: NodeExit | undefined;
  /** Why it could not start. */
  error: unknown;
  bornAt = 0;
  /** Set until it is back. */
  diedAt: number | undefined;
  pauseMs = PAUSE_MIN_MS;
  pause: NodeJS.Timeout | undefined;

  constructor(node: FleetNode) {
    this.node = node;
  }
}

function gone(member: Member): MeshError {
  return new MeshError("internal", "it ended before it was ready", { node: member.node.id });
}

function errorText(error: unknown, exit: NodeExit): string {
  return error === undefined ? exitText(exit) : MeshError.from(error).message;
}

function pauseText(pauseMs: number): string {
  return pauseMs < 1_000 ? "" : ` in ${(pauseMs / 1_000).toFixed(1)} s`;
}

function leftText(alive: number): string {
  if (alive === 0) return "no node is left";
  return alive === 1 ? "1 node goes on" : `${alive} nodes go on`;
}
