// One session in an enclosure, as its worker sees it: carries calls and sockets over, and knows how it ended, by itself or with its
// enclosure. The session's own life is led inside, by the same code as that of any other session.

import {
  PairedLink,
  type CallOutcome,
  type ClientEnd,
  type ConnectReply,
  type LinkService,
  type SessionCall,
  type SessionReply,
} from "#mesh";
import { MeshError, formatFence, type Fence, type SessionId } from "#proto";
import type { EndReason, StopReason } from "../session/end-reason.ts";
import { crashed, evicted, killed, stopped, type Ending } from "../session/ending.ts";
import type { SessionDescription } from "../session/host.ts";
import { SessionKilled } from "../session/session-killed.ts";
import type { Downfall, Enclosure, EnclosureLimits, StartEnclosure } from "./enclosure.ts";
import type { EnclosedBoot, EnclosedState, FromEnclosed, ToEnclosed, ToldError } from "./messages.ts";

/** From the start until the application is loaded inside. A slow disk takes seconds; whoever waits gives up after 30. */
const START_LIMIT_MS = 15_000;
/** An orderly stop is cut off inside. If nothing comes of that, so much later here. */
const STOP_GRACE_MS = 1_000;
/** Clients that read the last words of a session get so long, as in a link that is being left. */
const LAST_WORDS_MS = 10_000;
/** Between being told to exit and being made to. */
const EXIT_LIMIT_MS = 2_000;
/** Which view the worker has is no business of its session. */
const OPTIONS = { epoch: 0, stale: undefined } as const;

export interface EnclosedSessionOptions {
  readonly id: SessionId;
  readonly fence: Fence;
  readonly boot: EnclosedBoot;
  readonly start: StartEnclosure;
  readonly limits: EnclosureLimits;
  /** What the session asks of others. */
  readonly callSession: (session: EnclosedSession, call: SessionCall) => Promise<SessionReply>;
  /** Exactly once. */
  readonly onEnded: (session: EnclosedSession, reason: EndReason, error: unknown) => void;
  readonly onDownfall: (session: EnclosedSession, downfall: Downfall) => void;
  /** Exactly once, after that: its thread or process is no more. */
  readonly onGone: (session: EnclosedSession) => void;
}

export class EnclosedSession {
  readonly id: SessionId;
  readonly fence: Fence;
  readonly #options: EnclosedSessionOptions;
  readonly #enclosure: Enclosure;
  readonly #link: PairedLink<ToEnclosed, FromEnclosed>;
  readonly #createdAt = Date.now();
  readonly #ended = Promise.withResolvers<void>();
  #phase: "starting" | "running" | "ended" | "leaving" | "gone" = "starting";
  /** When the phase, or an orderly stop, has taken too long; on the clock of `performance`. */
  #limitMs = performance.now() + START_LIMIT_MS;
  #stopping: StopReason | undefined;
  #state: EnclosedState;
  /** How it ended, when that was not inside. */
  #ending: Ending | undefined;

  constructor(options: EnclosedSessionOptions) {
    this.#options = options;
    this.id = options.id;
    this.fence = options.fence;
    const lastActiveAt = new Date(this.#createdAt).toISOString();
    this.#state = { state: "starting", sockets: 0, inFlight: 0, timers: 0, lastActiveAt };
    this.#enclosure = options.start(`session ${this.id.key}`, options.limits, {
      received: (packet) => this.#received(packet),
      drained: () => this.#link.drained(),
      fell: (downfall) => this.#fell(downfall),
      gone: () => {
        this.#phase = "gone";
        options.onGone(this);
      },
    });
    this.#link = new PairedLink({
      stream: this.#enclosure.stream,
      service: this.#service,
      onMessage: (message) => this.#hear(message),
      onFault: (error) => this.#fell({ how: "killed", reason: error.message }),
    });
    this.#link.tell({ type: "boot", boot: options.boot });
  }

  get ended(): boolean {
    return this.#phase !== "starting" && this.#phase !== "running";
  }

  /** Rejects MeshError only. */
  async fetch(call: SessionCall): Promise<SessionReply> {
    return this.#replyOf(await this.#link.asker.call(call, OPTIONS));
  }

  /** Never rejects. */
  async connect(call: SessionCall, client: ClientEnd): Promise<ConnectReply> {
    try {
      const outcome = await this.#link.asker.connect(call, new EnclosedClient(client, () => this.#ending), OPTIONS);
      return this.#replyOf(outcome);
    } catch (error) {
      return { status: "refused", error: MeshError.from(error) };
    }
  }

  extend(deadline: number): void {
    if (!this.ended) this.#link.tell({ type: "deadline", deadline });
  }

  /** Resolves when it has ended. */
  stop(reason: StopReason, limitMs: number): Promise<void> {
    if (!this.ended && this.#stopping === undefined) {
      this.#stopping = reason;
      this.#limitMs = performance.now() + limitMs + STOP_GRACE_MS;
      this.#link.tell({ type: "stop", reason, limitMs });
    }
    return this.#ended.promise;
  }

  /** It is to end as soon as nothing of it is under way. */
  drain(): void {
    if (!this.ended) this.#link.tell({ type: "drain" });
  }

  /** The node may not act for it any more: nothing of it runs or is sent. */
  drop(closeCode: number): void {
    this.#break(evicted(this.id, closeCode));
  }

  sweep(nowMs: number): void {
    this.#link.sweep(nowMs);
    if (this.#phase === "ended" && this.#link.asker.idle) this.#leave();
    if (nowMs < this.#limitMs) return;
    this.#limitMs = Infinity;
    if (this.#phase === "leaving") this.#enclosure.kill();
    else if (this.#phase === "ended") this.#leave();
    else if (this.#stopping !== undefined) this.#break(stopped(this.id, this.#stopping));
    else if (this.#phase === "starting") this.#fell({ how: "killed", reason: "it did not start in time" });
  }

  describe(node: string, worker: number): SessionDescription {
    const { kind, name } = this.id;
    return {
      kind,
      name,
      node,
      worker,
      fence: formatFence(this.fence),
      ...this.#state,
      ...(this.#stopping === undefined ? {} : { state: "stopping" }),
      createdAt: new Date(this.#createdAt).toISOString(),
      ageMs: Date.now() - this.#createdAt,
    };
  }

  readonly #service: Pick<LinkService, "call" | "connect"> = {
    call: async (_from, call) => ({ status: "reply", reply: await this.#options.callSession(this, call) }),
    connect: () => Promise.reject(new MeshError("bad_upgrade", "a session opens no sockets to others")),
  };

  #received(packet: Uint8Array): void {
    this.#link.received(packet);
    if (this.#phase === "ended" && this.#link.asker.idle) this.#leave();
  }

  #hear(message: FromEnclosed): void {
    switch (message.type) {
      case "ready":
        if (this.#phase === "starting") this.#phase = "running";
        if (this.#stopping === undefined) this.#limitMs = Infinity;
        break;
      case "state":
        this.#state = message.state;
        break;
      case "ended":
        this.#finish(message.reason, message.error === undefined ? undefined : errorOf(message.error));
        this.#limitMs = performance.now() + LAST_WORDS_MS;
        break;
      case "failed":
        this.#fell({ how: "crashed", reason: "the log of its node says why", detail: message.error });
        break;
    }
  }

  /** Tells everybody who waits how it ended, and ends what is left of it. */
  #break(ending: Ending): void {
    if (this.#phase === "gone") return;
    this.#ending ??= ending;
    this.#finish(ending.reason, ending.error);
    this.#link.close(ending.begun);
    this.#enclosure.kill();
    this.#limitMs = Infinity;
  }

  #fell(downfall: Downfall): void {
    if (!this.ended) this.#options.onDownfall(this, downfall);
    this.#break(endingOf(this.id, downfall));
  }

  #finish(reason: EndReason, error: unknown): void {
    if (this.ended) return;
    this.#phase = "ended";
    this.#options.onEnded(this, reason, error);
    this.#ended.resolve();
  }

  #leave(): void {
    this.#phase = "leaving";
    this.#limitMs = performance.now() + EXIT_LIMIT_MS;
    this.#link.tell({ type: "exit" });
  }

  #replyOf<Reply>(outcome: CallOutcome<Reply>): Reply {
    switch (outcome.status) {
      case "reply":
        return outcome.reply;
      case "moved":
        throw new MeshError("bad_frame", "an enclosure sends its worker away");
      case "unreached":
        throw this.#ending?.waiting ?? outcome.error;
      case "failed":
        throw outcome.error;
    }
  }
}

/** A link that breaks tells clients to connect again. Those of a session that was ended by force hear what those of any session hear. */
class EnclosedClient implements ClientEnd {
  readonly #client: ClientEnd;
  readonly #ending: () => Ending | undefined;

  constructor(client: ClientEnd, ending: () => Ending | undefined) {
    this.#client = client;
    this.#ending = ending;
  }

  get buffered(): number {
    return this.#client.buffered;
  }

  send(data: string | Uint8Array): void {
    this.#client.send(data);
  }

  close(code: number, reason: string): void {
    const ending = this.#ending();
    this.#client.close(ending?.closeCode ?? code, ending?.closeText ?? reason);
  }
}

function endingOf(id: SessionId, downfall: Downfall): Ending {
  if (downfall.how === "killed") {
    const { reason, durationMs } = downfall;
    const held = durationMs === undefined ? "" : `, in a turn of ${durationMs} ms`;
    const context = { session: id.key, ...(durationMs === undefined ? {} : { durationMs }) };
    return killed(new SessionKilled(reason, `the session was ended by force: ${reason}${held}`, context));
  }
  const { reason, detail } = downfall;
  const cause = detail === undefined ? undefined : errorOf(detail);
  const error = new MeshError("session_crashed", `the session crashed: ${reason}`, { session: id.key, cause });
  return { ...crashed(id, cause ?? error), begun: error, waiting: error };
}

/** As it was thrown inside. */
function errorOf({ message, stack }: ToldError): Error {
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
