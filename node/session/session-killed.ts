// The error of a session that was ended by force, with what others are told of it beside the text.

import { MeshError, type ErrorContext } from "#proto";

export class SessionKilled extends MeshError {
  /** A few words for machines and people, such as `turn budget` or `process.exit()`. */
  readonly reason: string;
  /** How long it had held its worker, where that was the reason. */
  readonly durationMs: number | undefined;

  constructor(reason: string, message: string, context: ErrorContext & { readonly durationMs?: number }) {
    super("session_killed", message, context);
    this.reason = reason;
    this.durationMs = context.durationMs;
  }
}
