// Tells owners that session servers have ended, in batches. Only the index is cleaned by this: a notice that is lost, late or
// dropped costs its owner one question when somebody asks for the session again.

import type { HostedSession, Member, WorkerId } from "#proto";
import type { Clock } from "./clock.ts";

/** Notices wait this long for company. */
const FLUSH_MS = 50;
/** Notices kept for one owner; beyond it they are dropped, as allowed above. */
const NOTICES_MAX = 10_000;

export class EndedNotices {
  readonly #send: (to: Member, sessions: readonly HostedSession[]) => Promise<unknown>;
  readonly #waiting = new Map<WorkerId, { to: Member; sessions: HostedSession[] }>();
  readonly #clock: Clock;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, send: (to: Member, sessions: readonly HostedSession[]) => Promise<unknown>) {
    this.#clock = clock;
    this.#send = send;
  }

  add(to: Member, session: HostedSession): void {
    let batch = this.#waiting.get(to.id);
    if (batch === undefined) this.#waiting.set(to.id, (batch = { to, sessions: [] }));
    if (batch.sessions.length < NOTICES_MAX) batch.sessions.push(session);
    this.#cancel ??= this.#clock.timer(FLUSH_MS, () => this.#flush());
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#waiting.clear();
  }

  #flush(): void {
    this.#cancel = undefined;
    const batches = [...this.#waiting.values()];
    this.#waiting.clear();
    // A send that fails loses hints, nothing else.
    for (const batch of batches) this.#send(batch.to, batch.sessions).catch(() => {});
  }
}
