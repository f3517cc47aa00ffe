// Serving on without the registry. As soon as our heartbeats go unanswered we send them by way of a peer as well, see relay.ts: one that
// has contact renews our lease for us. While none does, the registry may be away for everybody. We ask every node of the view, through
// links, whether it has contact. One that has none promises not to evict us for `evictMs` from when it was asked; our deadline then
// moves to when we asked plus `suspendMs`, which is less. All must promise: a single node that has contact, or that does not answer,
// may be about to evict us. Only one whose process has ended, as its lifeline told, need not, as long as our deadline has not passed: past it,
// it may have evicted us before it ended, and so may one that has gone out of the view since. Nodes that we have not heard of cannot be
// asked; they wait longer, see silence.ts.

import type { NodeRecord, View } from "#proto";
import type { Clock } from "./clock.ts";
import type { LeaseEffect, OwnLease } from "./lease.ts";
import type { LogLine } from "./log.ts";
import type { LeaseTimings } from "./silence.ts";
import { holds } from "./view-change.ts";

/** Heartbeat intervals without an acknowledgement that leave our contact in doubt: one late heartbeat does not. */
const DOUBT_HEARTBEATS = 1.5;
/** For one answer, as a part of `suspendMs`: one that takes longer would come after the deadline when the doubt has just begun. */
const ANSWER_IN_SUSPENSION = 0.5;
/** Looks at our contact in one heartbeat interval. */
const TICKS_PER_HEARTBEAT = 4;

/** `denied`: it has contact of its own, or does not have us in its view. `unknown`: no answer. */
export type ContactAnswer = "promised" | "denied" | "unknown";

export interface OutageOptions {
  readonly self: string;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly timings: LeaseTimings;
  readonly lease: OwnLease;
  readonly view: () => View;
  /** Its process is gone. */
  readonly hasEnded: (nodeId: string, incarnation: string) => boolean;
  /** Asks once, and MUST NOT reject. */
  readonly ask: (node: NodeRecord, timeoutMs: number) => Promise<ContactAnswer>;
  /** Sends a heartbeat by way of a peer; if one is under way, another after it. */
  readonly relay: () => void;
  /** This node has contact, most likely. */
  readonly onContactFound: (nodeId: string) => void;
  readonly onEffects: (effects: readonly LeaseEffect[]) => void;
}

export class Outage {
  readonly #options: OutageOptions;
  /** Gives up the questions under way. */
  readonly #giveUp = new Set<() => void>();
  #cancel: (() => void) | undefined;
  #contactAt = Number.NEGATIVE_INFINITY;
  #relayedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #extending = false;
  #stopped = false;
  /** The view that we were told of last. */
  #view: View | undefined;
  /** Somebody has gone out of the view since our lease was last live. It may have evicted us before, and cannot be asked any more. */
  #departed = false;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** The registry itself, and no peer for us, has acknowledged a heartbeat of ours just now. */
  get inContact(): boolean {
    return this.#isFresh(this.#contactAt);
  }

  /** The registry itself acknowledged a heartbeat that was sent then. */
  contact(sentAt: number): void {
    this.#contactAt = sentAt;
  }

  viewChanged(view: View): void {
    const { lease, clock } = this.#options;
    const before = this.#view;
    this.#view = view;
    if (lease.isLive(clock.now())) this.#departed = false;
    else this.#departed ||= before?.nodes.some(({ id, incarnation }) => !holds(view, id, incarnation)) === true;
  }

  start(): void {
    if (this.#stopped) return;
    const { clock, timings } = this.#options;
    this.#cancel = clock.timer(timings.heartbeatMs / TICKS_PER_HEARTBEAT, () => {
      this.#tick();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const giveUp of this.#giveUp) giveUp();
    this.#cancel?.();
  }

  #tick(): void {
    const { clock, lease, log, timings, relay } = this.#options;
    if (lease.isLive(clock.now())) this.#departed = false;
    if (this.inContact) {
      if (this.#extending) log("info", "the registry is back");
      this.#extending = false;
      return;
    }
    const now = clock.now();
    if (now - this.#relayedAt >= timings.heartbeatMs) {
      this.#relayedAt = now;
      relay();
    }
    if (this.#isFresh(lease.acknowledgedAt)) return;
    if (now - this.#askedAt < timings.heartbeatMs || lease.fenced) return;
    if (now - lease.acknowledgedAt > timings.outageCapMs) return;
    this.#askedAt = now;
    void this.#ask(now);
  }

  /** One round. The next begins while answers are under way: where they take long, each still counts from its own question. */
  async #ask(askedAt: number): Promise<void> {
    const { self, view, clock, lease, log, onEffects, hasEnded, onContactFound, relay } = this.#options;
    const peers = view().nodes.filter((node) => node.id !== self);
    let found = false;
    const answers = await Promise.all(
      peers.map(async (node) => {
        const answer = await this.#answerOf(node);
        if (answer === "denied" && !found && !this.#stopped && !this.#isFresh(lease.acknowledgedAt)) {
          found = true;
          onContactFound(node.id);
          relay();
        }
        return answer;
      }),
    );
    if (this.#stopped) return;
    const all = !this.#departed && answers.every((answer) => answer === "promised");
    const agreed = peers.every(
      (node, at) => answers[at] === "promised" || (answers[at] === "unknown" && hasEnded(node.id, node.incarnation)),
    );
    if (!agreed) return;
    const now = clock.now();
    const effects = all ? lease.revived(askedAt, now) : lease.extended(askedAt, now);
    if (effects.some(({ type }) => type === "deadline")) {
      if (!this.#extending) log("warn", "no node of the view reaches the registry: serving on, by their promises");
      this.#extending = true;
    }
    onEffects(effects);
  }

  #isFresh(at: number): boolean {
    const { clock, timings } = this.#options;
    return clock.now() - at < DOUBT_HEARTBEATS * timings.heartbeatMs;
  }

  async #answerOf(node: NodeRecord): Promise<ContactAnswer> {
    const { clock, timings, ask, hasEnded } = this.#options;
    if (hasEnded(node.id, node.incarnation)) return "unknown";
    const { promise: late, resolve } = Promise.withResolvers<ContactAnswer>();
    const giveUp = (): void => resolve("unknown");
    const timeoutMs = timings.suspendMs * ANSWER_IN_SUSPENSION;
    const cancel = clock.timer(timeoutMs, giveUp);
    this.#giveUp.add(giveUp);
    try {
      return await Promise.race([ask(node, timeoutMs), late]);
    } finally {
      cancel();
      this.#giveUp.delete(giveUp);
    }
  }
}
