// The links of one worker to its peers: one a peer, made at first use and made anew after it broke. The calls that found it
// still connecting wait for it together.

import { MeshError, type AnswerFrame, type AskFrame, type Member, type WorkerId } from "#proto";
import type { SessionCall, SessionReply } from "../call.ts";
import type { ClientEnd, ConnectAnswer } from "../socket.ts";
import type { LogLine } from "../log.ts";
import { AskingLink } from "./asking-link.ts";
import { dialLink } from "./grpc-client.ts";
import type { CallOptions, CallOutcome, Links } from "./port.ts";

/** Calls that wait for one link to connect. More than that within CONNECT_TIMEOUT_MS only pile up in vain. */
const WAITING_MAX = 10_000;
/** How often late heads are looked for, and whatever a terminated session left undone is taken up. */
const SWEEP_MS = 500;
/** For answers of a worker that has left in order. */
const LEAVING_MS = 1_000;
/**
 * For those of a node that was evicted: what it held is lost, and nobody should wait to hear so. Not at once, because a node that leaves in order
 * may be gone before its last view is seen here.
 */
const EVICTED_MS = 100;

export interface LinksOptions {
  readonly self: WorkerId;
  readonly mesh: string;
  /** Peers with the same value are reached through their Unix sockets. */
  readonly machine: string;
  /** For what clients are not told. */
  readonly log?: LogLine;
  /** Epoch of our view now. */
  epoch(): number;
}

export function createLinks(options: LinksOptions): Links {
  return new PeerLinks(options);
}

interface Peer {
  /** As in the newest view that it was in. */
  member: Member;
  readonly link: AskingLink;
  waiting: number;
}

class PeerLinks implements Links {
  readonly #options: LinksOptions;
  readonly #peers = new Map<WorkerId, Peer>();
  /** Links to workers that have left, until all is answered. */
  readonly #leaving = new Map<AskingLink, { readonly id: WorkerId; readonly untilMs: number }>();
  #sweeper: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: LinksOptions) {
    this.#options = options;
  }

  call(to: Member, call: SessionCall, options: CallOptions): Promise<CallOutcome<SessionReply>> {
    const peer = this.#peerOf(to);
    if (peer.link.isUp) return peer.link.asker.call(call, options);
    return this.#whenUp(peer, call, () => peer.link.asker.call(call, options));
  }

  connect(to: Member, call: SessionCall, client: ClientEnd, options: CallOptions): Promise<CallOutcome<ConnectAnswer>> {
    const peer = this.#peerOf(to);
    if (peer.link.isUp) return peer.link.asker.connect(call, client, options);
    return this.#whenUp(peer, call, () => peer.link.asker.connect(call, client, options));
  }

  async ask(to: Member, question: AskFrame, timeoutMs: number): Promise<AnswerFrame> {
    const start = performance.now();
    const peer = this.#peerOf(to);
    if (!peer.link.isUp) {
      const error = await within(timeoutMs, peer.link.connected);
      if (error !== undefined) throw error;
    }
    return peer.link.asker.ask(question, Math.max(0, timeoutMs - (performance.now() - start)));
  }

  retain(members: readonly Member[]): void {
    const newest = new Map(members.map((member) => [member.id, member]));
    const nodes = new Set(members.map(({ node }) => node.incarnation));
    const nowMs = performance.now();
    let evicted = false;
    for (const [id, peer] of this.#peers) {
      const member = newest.get(id);
      if (member !== undefined) {
        peer.member = member;
        continue;
      }
      this.#peers.delete(id);
      const { state, incarnation } = peer.member.node;
      const inOrder = state === "draining" || nodes.has(incarnation);
      evicted ||= !inOrder;
      this.#leaving.set(peer.link, { id, untilMs: nowMs + (inOrder ? LEAVING_MS : EVICTED_MS) });
    }
    this.#closeAnswered();
    if (evicted) setTimeout(() => this.#closeAnswered(), EVICTED_MS + 1).unref();
  }

  close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const { link } of this.#peers.values()) link.close(closedError());
    for (const link of this.#leaving.keys()) link.close(closedError());
    return Promise.resolve();
  }

  #peerOf(to: Member): Peer {
    const known = this.#peers.get(to.id);
    if (known !== undefined) return known;
    const link: AskingLink = new AskingLink({
      self: this.#options.self,
      mesh: this.#options.mesh,
      epoch: this.#options.epoch(),
      log: this.#options.log,
      to,
      dial: (member, events) => dialLink(member, this.#options.machine, events),
      onClosed: () => {
        if (this.#peers.get(to.id)?.link === link) this.#peers.delete(to.id);
        this.#leaving.delete(link);
      },
    });
    const peer: Peer = { member: to, link, waiting: 0 };
    if (this.#closed) {
      link.close(closedError());
      return peer;
    }
    this.#peers.set(to.id, peer);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    return peer;
  }

  async #whenUp<Reply>(
    peer: Peer,
    call: SessionCall,
    send: () => Promise<CallOutcome<Reply>>,
  ): Promise<CallOutcome<Reply>> {
    if (peer.waiting >= WAITING_MAX) {
      return {
        status: "failed",
        error: new MeshError("overloaded", "too many calls wait for the link to the session's worker"),
      };
    }
    peer.waiting += 1;
    const error = await peer.link.connected;
    peer.waiting -= 1;
    if (call.cancelled !== undefined) return { status: "failed", error: call.cancelled };
    return error === undefined ? send() : { status: "unreached", error };
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const { link } of this.#peers.values()) link.sweep(nowMs);
    for (const link of this.#leaving.keys()) link.sweep(nowMs);
    this.#closeAnswered();
  }

  #closeAnswered(): void {
    const nowMs = performance.now();
    for (const [link, { id, untilMs }] of this.#leaving) {
      if (link.isUp && !link.asker.idle && nowMs < untilMs) continue;
      link.close(new MeshError("session_lost", "the session's host has left the mesh", { cause: `worker ${id}` }));
    }
  }
}

/** The promise's value, or a `timeout` error after `ms`. */
async function within(ms: number, promise: Promise<MeshError | undefined>): Promise<MeshError | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<MeshError>((resolve) => {
    timer = setTimeout(() => resolve(new MeshError("timeout", `a peer could not be reached within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function closedError(): MeshError {
  return new MeshError("session_lost", "this worker closes its links");
}
