// The class that users extend: one instance is one live session server. All hooks are optional, and methods of the class. An error that escapes
// from `fetch`, `onConnect`, `onMessage` or `onClose`, thrown or rejected, costs that event; from any other it crashes the session: its state
// is dropped, its clients are told, and the next request finds a fresh server. See the option `uncaught`.

import type { BeforeHook, ProtocolChoice } from "./admission.ts";
import type { Caller } from "./caller.ts";
import type { SessionContext } from "./context.ts";
import type { StopReason } from "./end-reason.ts";
import type { ErrorOrigin } from "./error-origin.ts";
import type { WrittenOptions } from "./options.ts";
import type { SocketMessage } from "./socket-message.ts";
import type { SessionSocket } from "./socket.ts";

/** Whom a broadcast goes to. */
export interface BroadcastOptions {
  /** Sockets that are left out, e.g. the one that the message came from. */
  readonly except?: SessionSocket | readonly SessionSocket[];
  /** Only to sockets that carry this tag. */
  readonly tag?: string;
}

/**
 * Extend it: one instance is one live session server. All hooks are optional. `Attachment` is the type of `socket.attachment` in a class
 * that says so: `class Chat extends SessionServer<{ user: string }>`.
 */
export abstract class SessionServer<Attachment = unknown> {
  readonly ctx: SessionContext<Attachment>;

  /** Field initialisers and constructors of subclasses may use `this.ctx`. Not async: see `onStart`. */
  constructor(ctx: SessionContext) {
    // Nobody but the class itself writes attachments: they are what it says.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    this.ctx = ctx as SessionContext<Attachment>;
  }

  /**
   * Answers a request. Without it requests get 404. A Response may be thrown, too. MeshErrors that blame the client (`bad_request`,
   * `unauthorized`, `forbidden`, `not_found`, `method_not_allowed`, `body_too_large`) are answered with their status.
   * @param caller whose request it is
   */
  fetch?(request: Request, caller: Caller): Response | Promise<Response>;
  /** Before the first event; events wait until it settles, for 30 s at most. */
  onStart?(): void | Promise<void>;
  /**
   * A client opens a WebSocket; the handshake is answered when this settles. To refuse it, throw a Response (64 KiB at most) or such a
   * MeshError; no other hook is then called for the socket. A class with neither this nor `onMessage` takes no sockets.
   */
  onConnect?(socket: SessionSocket<Attachment>, request: Request): void | Promise<void>;
  /** Text arrives as string, binary as bytes. A MeshError that blames the client closes its socket with 1008, or 1009 for `body_too_large`. */
  onMessage?(socket: SessionSocket<Attachment>, message: string | Uint8Array): void | Promise<void>;
  /** Once for each socket, whoever closed it; not when the session itself ends. */
  onClose?(socket: SessionSocket<Attachment>, code: number, reason: string, wasClean: boolean): void | Promise<void>;
  /**
   * An error escaped from a hook for one event, and the session goes on (see the option `uncaught`); or a socket broke a limit. The client has
   * its answer by then; for a socket that was open `onClose` follows. An error that escapes from here is logged and no more.
   * @param socket undefined for `fetch`
   * @param error what was thrown, which may be anything
   */
  onError?(socket: SessionSocket<Attachment> | undefined, error: unknown, origin: ErrorOrigin): void | Promise<void>;
  /** Before an orderly end, after the requests under way; has 5 s. Never after a crash or a kill. */
  onStop?(reason: StopReason): void | Promise<void>;

  /** Open sockets, all or those with the tag. */
  sockets(tag?: string): SessionSocket<Attachment>[] {
    return this.ctx.sockets(tag);
  }

  /** Sends to every open socket what `socket.send` takes. */
  broadcast(message: SocketMessage, options: BroadcastOptions = {}): void {
    const { except } = options;
    for (const socket of this.ctx.sockets(options.tag)) {
      if (socket === except || (Array.isArray(except) && except.includes(socket))) continue;
      socket.send(message);
    }
  }
}

/** A class of session servers, as an application lists it. */
export interface SessionClass {
  new (ctx: SessionContext): SessionServer;
  readonly options?: WrittenOptions;
  /**
   * Judges a request before anything of its session is touched; see `Verdict`. Runs at the node that took the client, in the worker's main
   * thread for all isolations, after `authorize`.
   */
  readonly onBeforeRequest?: BeforeHook;
  /** The same for a WebSocket, before its handshake is answered. */
  readonly onBeforeConnect?: BeforeHook;
  /** The WebSocket sub-protocols of the class; without it none is chosen, whatever a client offers. */
  readonly protocols?: ProtocolChoice;
}
