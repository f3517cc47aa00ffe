// Finds dead sockets: pings each every 30 s and gives up on one that stayed silent through two pings. One timer for all of
// them; each tick pings a thirtieth, so that 100,000 sockets are no burst.

/** Under the idle limits of common load balancers (60 s and up). Larger finds the dead later, smaller wakes phones. */
export const PING_EVERY_MS = 30_000;
const SLICES = 30;
const MISSED_MAX = 2;

export interface Beating {
  /** Where it waits; only the heartbeat writes it. */
  heartbeatSlice: number;
  /** Pings since the client was last heard. */
  missedPings: number;
  /** False while we do not read from the client, so that its pongs wait unread. */
  readonly hearing: boolean;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export class Heartbeat {
  readonly #slices: readonly Set<Beating>[] = Array.from({ length: SLICES }, () => new Set<Beating>());
  readonly #timer: NodeJS.Timeout;
  /** Received from all of them, ever; counted by those who receive. */
  messages = 0;
  #next = 0;
  #size = 0;

  constructor() {
    this.#timer = setInterval(() => this.beat(), PING_EVERY_MS / SLICES);
    this.#timer.unref();
  }

  get size(): number {
    return this.#size;
  }

  add(member: Beating): void {
    // The slice that comes last: a new socket gets its first ping after the whole interval.
    member.heartbeatSlice = (this.#next + SLICES - 1) % SLICES;
    this.#slices[member.heartbeatSlice]?.add(member);
    this.#size++;
  }

  remove(member: Beating): void {
    if (this.#slices[member.heartbeatSlice]?.delete(member) === true) this.#size--;
  }

  *members(): Iterable<Beating> {
    for (const slice of this.#slices) yield* slice;
  }

  beat(): void {
    const slice = this.#slices[this.#next];
    this.#next = (this.#next + 1) % SLICES;
    for (const member of slice ?? []) {
      if (!member.hearing) continue;
      if (member.missedPings >= MISSED_MAX) {
        member.terminate();
      } else {
        member.missedPings++;
        member.ping();
      }
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
