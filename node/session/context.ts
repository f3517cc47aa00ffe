// What a session knows and may do: `this.ctx`. The interface that users see; cell-context.ts implements it.

import type { Claims, Fence } from "#proto";
import type { Log } from "../log.ts";
import type { SessionSocket } from "./socket.ts";
import type { MeshSessions } from "./stub.ts";

/** `this.ctx`: what a session knows and may do. */
export interface SessionContext<Attachment = unknown> {
  readonly id: { readonly kind: string; readonly name: string };
  /** Id of the node that hosts the session. */
  readonly node: string;
  /** Index of the worker on its node. */
  readonly worker: number;
  /** Rises with every activation of this name: outside systems can refuse the writes of an older one. */
  readonly fence: Fence;
  /** Lines carry the session. */
  readonly log: Log;
  /** Other sessions of the mesh. */
  readonly mesh: MeshSessions;
  /** The environment of the node when it started. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * What the application's hooks at the gateway said of the client whose request, socket or message is being worked on, in everything that
   * code starts from there. Undefined: they said nothing, or what runs is no client's, as in `onStart` and `onStop`.
   */
  readonly claims: Claims | undefined;
  /** Aborted when the session ends, for whatever reason. */
  readonly signal: AbortSignal;
  /** Throws `bad_app`: this session's kind keeps no storage. */
  readonly storage: never;
  /** Open sockets, all or those with the tag. */
  sockets(tag?: string): SessionSocket<Attachment>[];
  /** Keeps the session from idling until the promise settles. A rejection crashes the session. */
  waitUntil(promise: Promise<unknown>): void;
  /** Events wait until `fn` settles, for 30 s at most. An error crashes the session. */
  blockConcurrencyWhile<Result>(fn: () => Promise<Result>): Promise<Result>;
  /** Ends the session once the requests under way are answered: `onStop("destroy")`, then its sockets close with 1000. */
  destroy(): void;
}
