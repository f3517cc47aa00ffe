// How a session ends, seen from each side: the reason for the registry, the close of its sockets, the errors of its requests.

import { MeshError, type SessionId } from "#proto";
import { failureText, type ClientErrors } from "./failure-text.ts";
import { stopEndings, type EndReason, type StopReason } from "./end-reason.ts";

/** WebSocket close code "internal error". */
const CLOSE_FAILED = 1011;

export interface Ending {
  readonly reason: EndReason;
  readonly closeCode: number;
  readonly closeText: string;
  /** For requests whose handler may have run. */
  readonly begun: MeshError;
  /** For requests that were still waiting. */
  readonly waiting: MeshError;
  /** What the session crashed of or was killed for. */
  readonly error?: unknown;
}

export function stopped(id: SessionId, why: StopReason): Ending {
  const { reason, closeCode } = stopEndings[why];
  const text = `session stopped: ${why}`;
  return new QuietEnding(id, reason, closeCode, text, `the session stopped (${why}) before it had answered`);
}

export function evicted(id: SessionId, closeCode: number): Ending {
  const why = "the node of the session was evicted before it had answered";
  return new QuietEnding(id, "evicted", closeCode, "session lost its host", why);
}

/** Those who waited hear of the crash too: sent again, each would crash a server that cannot start. */
export function crashed(id: SessionId, error: unknown, told: ClientErrors = "brief"): Ending {
  const why = failureText(error, "the session crashed; the log of its node says why", told);
  const begun = new MeshError("session_crashed", why, { session: id.key, cause: error });
  return { reason: "crashed", closeCode: CLOSE_FAILED, closeText: "session crashed", begun, waiting: begun, error };
}

export function killed(error: MeshError): Ending {
  return {
    reason: "killed",
    closeCode: CLOSE_FAILED,
    closeText: "session killed",
    begun: error,
    waiting: error,
    error,
  };
}

/** Nothing of the request has run, so it may go to the session's next server. */
export function notRun(id: SessionId): MeshError {
  return new MeshError("session_stopped", `${id.key} stopped before it looked at the request`, { session: id.key });
}

function lost(id: SessionId, message: string): MeshError {
  return new MeshError("session_lost", message, { session: id.key });
}

/** Makes its errors when they are asked for. Most sessions end while nobody waits, and two errors with their stacks cost more than the end. */
class QuietEnding implements Ending {
  readonly reason: EndReason;
  readonly closeCode: number;
  readonly closeText: string;
  readonly #id: SessionId;
  readonly #why: string;
  #begun: MeshError | undefined;
  #waiting: MeshError | undefined;

  constructor(id: SessionId, reason: EndReason, closeCode: number, closeText: string, why: string) {
    this.#id = id;
    this.reason = reason;
    this.closeCode = closeCode;
    this.closeText = closeText;
    this.#why = why;
  }

  get begun(): MeshError {
    return (this.#begun ??= lost(this.#id, this.#why));
  }

  get waiting(): MeshError {
    return (this.#waiting ??= notRun(this.#id));
  }
}
