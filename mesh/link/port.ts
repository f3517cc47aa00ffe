// Links as the router sees them. The gRPC implementation is beside this file; the simulation has another.

import type { AnswerFrame, AskFrame, Member, MeshError, WorkerId } from "#proto";
import type { SessionCall, SessionReply } from "../call.ts";
import type { ClientEnd, ConnectAnswer } from "../socket.ts";

/** How a call over a link ended, before any retry. */
export type CallOutcome<Reply> =
  | { readonly status: "reply"; readonly reply: Reply }
  /** Not touched there. `worker` hosts it; undefined: not here, and it does not know where. Safe to send elsewhere. */
  | { readonly status: "moved"; readonly worker: WorkerId | undefined; readonly epoch: number }
  /** Nothing of the call reached the peer: the link could not be made. Safe to send again. */
  | { readonly status: "unreached"; readonly error: MeshError }
  /** The handler answered with an error, or the link broke when it may have started: never send again. */
  | { readonly status: "failed"; readonly error: MeshError };

export interface CallOptions {
  readonly epoch: number;
  /** The worker that has just denied hosting the session, so that the owner checks before it says the same again. */
  readonly stale: WorkerId | undefined;
}

/** The asking side: one link a peer, made at first use, remade after it broke. */
export interface Links {
  call(to: Member, call: SessionCall, options: CallOptions): Promise<CallOutcome<SessionReply>>;
  connect(to: Member, call: SessionCall, client: ClientEnd, options: CallOptions): Promise<CallOutcome<ConnectAnswer>>;
  /** Rejects with MeshError on time-out or when the link breaks: the outcome at the peer is then unknown. */
  ask(to: Member, question: AskFrame, timeoutMs: number): Promise<AnswerFrame>;
  /**
   * Opens nothing more on links to workers that are not in the list. What is under way there may still be answered for a second, since
   * a worker that left in order answers everybody before it goes; a tenth of that where its whole node was evicted. Then it fails with
   * `session_lost`.
   */
  retain(members: readonly Member[]): void;
  close(): Promise<void>;
}

/** The answering side. Every method may be called at any time; errors are MeshErrors and travel to the asker as they are. */
export interface LinkService {
  /** Ready to answer to `from`? False when it is not in our view, even after reading the view again up to `epoch`. */
  admit(from: WorkerId, epoch: number): Promise<boolean>;
  call(from: WorkerId, call: SessionCall, options: CallOptions): ServedCall<SessionReply>;
  connect(from: WorkerId, call: SessionCall, client: ClientEnd, options: CallOptions): ServedCall<ConnectAnswer>;
  ask(from: WorkerId, question: AskFrame): AnswerFrame | Promise<AnswerFrame>;
}

/** A call that arrived over a link and is to be started. */
export interface Arrival {
  /** Only who keeps arrivals apart writes it. */
  queued: boolean;
  /** Throws nothing. */
  resume(): void;
  /** What `resume` ran was ended by force: nothing of it goes on. */
  torn(error: unknown): void;
}

/**
 * Calls `resume` of each on a turn of the event loop of its own, in their order: one batch brings calls to many sessions. At once where
 * sessions need not be kept apart.
 */
export type Apart = (arrival: Arrival) => void;

export const atOnce: Apart = (arrival) => arrival.resume();

export type Served<Reply> =
  | { readonly status: "reply"; readonly reply: Reply }
  | { readonly status: "moved"; readonly worker: WorkerId | undefined; readonly epoch: number };

/** A thrown or rejected MeshError becomes a Reset frame. */
export type ServedCall<Reply> = Served<Reply> | Promise<Served<Reply>>;

/** What a worker publishes of its link server once it listens. */
export interface LinkListener {
  readonly port: number;
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Closes the links from workers that are not in the list; what they asked for is cancelled. */
  retain(members: readonly Member[]): void;
  /** Resolves when no peer has a link to this worker any more, or after `limitMs`. */
  deserted(limitMs: number): Promise<void>;
  close(): Promise<void>;
}
