// The state of a node's own lease, pure: it is told what became of each heartbeat and says what follows. It knows no clock, no
// registry and no view; heartbeat.ts does what it says.
//
// The deadline is the send time of the last acknowledged heartbeat plus `suspendMs`. Observers count from when they saw that heartbeat, which
// is later, and wait longer, so nobody evicts us before our deadline. Past it we are suspended. An acknowledgement alone does not end that:
// the registry may have gone back to before our eviction, so the view has to be read again, after the acknowledgement, and hold us.
//
// While nobody reaches the registry, the promises of all peers not to evict us move the deadline, and end a suspension: see outage.ts.
//
// A heartbeat without an answer may have landed, may yet, or never will. It is not waited for: the next one expects the same
// revision. One of them is written, or the key is read and its beat says which one won. So heartbeats may also be under way on two ways at
// once, to the registry itself and by way of a peer: each counts from its own send time, and only when it is known to be written.

import type { Lease, LiveLease, WorkerLoad } from "#proto";

/** Unanswered heartbeats whose send time is remembered. Older ones are past any deadline. */
const SENT_MAX = 64;

export interface HeartbeatWrite {
  /** The revision it replaces; 0 when there is no key. */
  readonly revision: number;
  readonly lease: LiveLease;
}

/** See `LiveLease`. */
export type SeenView = Pick<LiveLease, "epoch" | "view">;

/** The lease key as read; undefined when there is none. */
export type FoundLease = { readonly revision: number; readonly lease: Lease } | undefined;

export type LeaseEffect =
  | { readonly type: "deadline"; readonly deadline: number }
  | { readonly type: "suspended" }
  /** Read the view; when it holds us, report `confirmed` with this `until`. */
  | { readonly type: "confirm"; readonly until: number }
  | { readonly type: "resumed" }
  /** The end of this incarnation: whatever it hosts may live elsewhere already. */
  | { readonly type: "fenced"; readonly reason: string };

export class OwnLease {
  readonly #incarnation: string;
  readonly #suspendMs: number;
  /** Send times of heartbeats that may still turn out to be written, by beat. */
  readonly #sent = new Map<number, number>();
  #phase: "new" | "live" | "suspended" | "fenced" = "new";
  #deadline = Number.NEGATIVE_INFINITY;
  #acknowledgedAt = Number.NEGATIVE_INFINITY;
  #revision: number;
  #acknowledgedRevision = 0;
  #beat = 0;

  /** `revision` of the key that the first heartbeat replaces; 0 creates it. */
  constructor(options: { readonly incarnation: string; readonly suspendMs: number; readonly revision: number }) {
    this.#incarnation = options.incarnation;
    this.#suspendMs = options.suspendMs;
    this.#revision = options.revision;
  }

  /** Until when this node may act. Never falls. */
  get deadline(): number {
    return this.#deadline;
  }

  /** When the last acknowledged heartbeat was sent, on whichever way. */
  get acknowledgedAt(): number {
    return this.#acknowledgedAt;
  }

  /** The last revision that is known to be ours, to remove the key with. */
  get revision(): number {
    return this.#revision;
  }

  get fenced(): boolean {
    return this.#phase === "fenced";
  }

  /** It may have been evicted: what the key holds is to be read before it is written again. */
  get suspended(): boolean {
    return this.#phase === "suspended";
  }

  /** Was never suspended since it began, or has recovered: nobody can have evicted us by the rules. */
  isLive(now: number): boolean {
    return this.#phase === "live" && now < this.#deadline;
  }

  /** The next heartbeat, sent now by a node that has seen this view; undefined once fenced. */
  beat(now: number, load: readonly WorkerLoad[], seen: SeenView = { epoch: 0, view: "" }): HeartbeatWrite | undefined {
    if (this.#phase === "fenced") return undefined;
    const beat = ++this.#beat;
    this.#sent.set(beat, now);
    if (this.#sent.size > SENT_MAX) this.#sent.delete(beat - SENT_MAX);
    const opId = `${this.#incarnation}.${beat}`;
    return {
      revision: this.#revision,
      lease: { state: "live", incarnation: this.#incarnation, beat, ...seen, opId, load },
    };
  }

  /** The heartbeat was written. An outcome that is unknown needs no report: the next heartbeat finds out. */
  acknowledged(beat: number, revision: number, now: number): LeaseEffect[] {
    if (this.#phase === "fenced") return [];
    const sentAt = this.#sent.get(beat);
    // Heard of on the other way already; by now the key may hold a later one.
    if (sentAt === undefined) return [];
    this.#revision = revision;
    this.#acknowledgedRevision = revision;
    // Those before it expected what it replaced.
    for (const earlier of this.#sent.keys()) if (earlier <= beat) this.#sent.delete(earlier);
    return this.#renewed(sentAt, now);
  }

  /** Somebody else had written the key, or an unanswered heartbeat of ours; this is what it holds. Send the next heartbeat at once. */
  conflicted(found: FoundLease, now: number): LeaseEffect[] {
    if (this.#phase === "fenced") return [];
    if (found === undefined) {
      // The registry lost the key; leases are not deleted while their node lives.
      this.#revision = 0;
      return [];
    }
    const { lease, revision } = found;
    if (lease.incarnation === this.#incarnation) {
      if (lease.state === "evicted")
        return this.fence(`${lease.by} evicted this node: its lease was silent for too long`);
      const effects = this.acknowledged(lease.beat, revision, now);
      // Also an old beat of ours, of a registry that went back.
      this.#revision = revision;
      this.#acknowledgedRevision = revision;
      return effects;
    }
    // A newer process with our id took the lease over, or held it before we began. An older revision than one that was acknowledged to
    // us is the registry going back to before our time, which fences nobody.
    if (lease.state === "live" && revision > this.#acknowledgedRevision) {
      return this.fence("another process holds the lease of this node id");
    }
    this.#revision = revision;
    return [];
  }

  /** The view, read after the `confirm` with this `until`, holds us. */
  confirmed(until: number, now: number): LeaseEffect[] {
    // Evictors wait longer than `until`, so the view that was read is still true.
    return this.#phase === "suspended" ? this.#resumed(until, now) : [];
  }

  /**
   * Everybody who is left of those who could evict us promised not to, asked at `askedAt`. Never past a deadline: one who is not may have
   * evicted us before it ended.
   */
  extended(askedAt: number, now: number): LeaseEffect[] {
    const effects = this.tick(now);
    const until = askedAt + this.#suspendMs;
    if (this.#phase !== "live" || until <= this.#deadline) return effects;
    this.#deadline = until;
    return [...effects, { type: "deadline", deadline: until }];
  }

  /** All who could have evicted us have not, and promised not to, asked at `askedAt`. That ends a suspension too. */
  revived(askedAt: number, now: number): LeaseEffect[] {
    const effects = this.extended(askedAt, now);
    if (this.#phase !== "suspended") return effects;
    return [...effects, ...this.#resumed(askedAt + this.#suspendMs, now)];
  }

  tick(now: number): LeaseEffect[] {
    if (this.#phase !== "live" || now < this.#deadline) return [];
    this.#phase = "suspended";
    return [{ type: "suspended" }];
  }

  /** From outside: the view says that we were evicted. */
  fence(reason: string): LeaseEffect[] {
    if (this.#phase === "fenced") return [];
    this.#phase = "fenced";
    return [{ type: "fenced", reason }];
  }

  #resumed(until: number, now: number): LeaseEffect[] {
    if (now >= until) return [];
    this.#phase = "live";
    this.#deadline = Math.max(this.#deadline, until);
    return [{ type: "resumed" }, { type: "deadline", deadline: this.#deadline }];
  }

  #renewed(sentAt: number, now: number): LeaseEffect[] {
    // First what has passed: a process that was stopped must not take an old acknowledgement for an unbroken lease.
    const effects = this.tick(now);
    const until = sentAt + this.#suspendMs;
    this.#acknowledgedAt = sentAt;
    if (now >= until) return effects;
    if (this.#phase === "suspended") return [...effects, { type: "confirm", until }];
    this.#phase = "live";
    this.#deadline = Math.max(this.#deadline, until);
    return [...effects, { type: "deadline", deadline: this.#deadline }];
  }
}
