// What becomes of a session that tries, in a process that it shares, what would hit all who live there: it ends at once and alone, and
// the attempt does not happen. Relies on being told whose code runs. Only stops mistakes: code that means harm finds other ways.

import { MeshError, type SessionId } from "#proto";
import type { Log } from "../log.ts";
import { outside } from "../session/current.ts";
import { SessionKilled } from "../session/session-killed.ts";

/** A session, as far as this needs to know it. */
export interface GuardedSession {
  readonly id: SessionId;
  readonly ended: boolean;
  /** Ends it. Nothing of it is to be run any more; what still runs is without effect. */
  kill(error: MeshError): void;
  /** An error has escaped from its code. */
  fault(error: unknown): unknown;
}

export interface WardenOptions {
  /** The session whose code runs now; undefined: nobody's, or the application's own outside of any session. */
  readonly running: () => GuardedSession | undefined;
  readonly log: Log;
}

export class Warden {
  readonly running: () => GuardedSession | undefined;
  readonly #log: Log;
  /** What was told already. As many as there are attempts to tell of, which are few and fixed. */
  readonly #told = new Set<string>();

  constructor({ running, log }: WardenOptions) {
    this.running = running;
    this.#log = log;
  }

  /**
   * Ends the session that called `what`, e.g. "process.exit()". Throws `session_killed`, so that the running turn unwinds; code that
   * catches it goes on in a session that has ended. `instead`: what to do instead, or why not.
   */
  end(session: GuardedSession, what: string, instead: string): never {
    const { key } = session.id;
    const why = `the session was ended because it called ${what}, which would hit every session of its process: ${instead}`;
    const error = new SessionKilled(what, why, { session: key });
    if (!session.ended) {
      outside(() => {
        this.#log.error("session killed", { session: key, reason: what, instead, stack: error.stack });
        session.kill(error);
      });
    }
    throw error;
  }

  /** Of what libraries do in good faith, and what therefore ends nothing but does not have its usual effect. Once for each text. */
  tell(session: GuardedSession, text: string): void {
    if (this.#told.has(text)) return;
    this.#told.add(text);
    const { stack } = new Error(text);
    outside(() => this.#log.warn(text, { session: session.id.key, stack }));
  }

  /** An error of a listener that the session left on something shared. */
  blame(session: GuardedSession, error: unknown): void {
    if (session.ended) {
      const fields = { session: session.id.key, error: MeshError.from(error).message };
      outside(() => this.#log.warn("a listener that an ended session has left on the process failed", fields));
    } else session.fault(error);
  }
}
