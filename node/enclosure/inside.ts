// What runs inside an enclosure, be it a thread or a process: a session host with one session, served over the link to the worker that
// started it. To the session nothing is different. Whatever goes wrong in here is the session's, since there is nobody else.

import {
  PairedLink,
  type ClientEnd,
  type ConnectAnswer,
  type PacketStream,
  type ServedCall,
  type SessionCall,
  type SessionReply,
} from "#mesh";
import { MeshError, messageOf, traceOf, parseSessionKey, type SessionId, type SessionKey } from "#proto";
import { createLog, type Log } from "../log.ts";
import type { EndReason } from "../session/end-reason.ts";
import { crashed } from "../session/ending.ts";
import type { ClientErrors } from "../session/failure-text.ts";
import { installFaultHandlers } from "../session/faults.ts";
import { createSessionHost, type SessionHostControl } from "../session/host.ts";
import { installStoppableJson } from "../session/json.ts";
import { loadApplication } from "../session/load-application.ts";
import { installSessionTimers } from "../session/timers.ts";
import { installWebClasses } from "../web/web.ts";
import { WorkerLease } from "../worker/worker-lease.ts";
import {
  countProgress,
  type EnclosedBoot,
  type FromEnclosed,
  type ProgressRecord,
  type ToEnclosed,
  type ToldError,
} from "./messages.ts";
import type { PacketEvents } from "./port-stream.ts";
import { LOOK_MS } from "./turn-limit.ts";

/** The worker ends who has failed. Who is not ended in this time goes by itself. */
const FAILED_EXIT_MS = 1_000;

export interface InsideOptions {
  readonly connect: (events: PacketEvents) => PacketStream;
  readonly progress: ProgressRecord;
  readonly writeLog: (line: string) => void;
  /** Called before the application is loaded; what it returns, once it is loaded. */
  readonly guard: (log: Log) => () => void;
  /** Ends this thread or process. */
  readonly exit: (code: number) => void;
}

/** Puts in place what must be there before application code is loaded, and waits for the worker to say which session it is. */
export function runInside(options: InsideOptions): void {
  installStoppableJson();
  installSessionTimers();
  installWebClasses();
  const inside = new Inside(options);
  installFaultHandlers((error) => inside.failed(error));
}

class Inside {
  readonly #options: InsideOptions;
  readonly #link: PairedLink<FromEnclosed, ToEnclosed>;
  readonly #lease = new WorkerLease();
  readonly #begun = Promise.withResolvers<SessionHostControl>();
  #host: SessionHostControl | undefined;
  /** What those get who come after it has crashed or was killed: sent again, each would crash a server that cannot start. */
  #crash: MeshError | undefined;
  #toldState = "";
  #clientErrors: ClientErrors = "brief";

  constructor(options: InsideOptions) {
    this.#options = options;
    this.#link = new PairedLink({
      stream: options.connect({
        received: (packet) => this.#link.received(packet),
        drained: () => this.#link.drained(),
      }),
      service: {
        call: (_from, call) =>
          this.#host === undefined
            ? this.#begun.promise.then((host) => this.#fetch(host, call))
            : this.#fetch(this.#host, call),
        connect: (_from, call, client) => this.#begun.promise.then((host) => this.#connect(host, call, client)),
      },
      onMessage: (message) => this.#hear(message),
      onFault: (error) => this.failed(error),
    });
  }

  /** An error that no session caught, or none of ours. */
  failed(error: unknown): void {
    this.#link.tell({ type: "failed", error: toldOf(error) });
    setTimeout(() => this.#options.exit(1), FAILED_EXIT_MS);
  }

  #hear(message: ToEnclosed): void {
    switch (message.type) {
      case "boot":
        this.#boot(message.boot).catch((error: unknown) => this.failed(error));
        break;
      case "deadline":
        this.#lease.extend(message.deadline);
        break;
      case "drain":
        void this.#begun.promise.then((host) => host.drain());
        break;
      case "stop":
        void this.#begun.promise.then((host) => host.stopAll(message.reason, message.limitMs));
        break;
      case "exit":
        this.#options.exit(0);
        break;
    }
  }

  async #boot({ app, node, worker, log, clientErrors, key, fence, deadline }: EnclosedBoot): Promise<void> {
    const ourLog = createLog(log, { node, worker }, this.#options.writeLog);
    this.#clientErrors = clientErrors;
    const seal = this.#options.guard(ourLog);
    const application = await loadApplication(app);
    seal();
    const host = createSessionHost({
      application,
      node,
      worker,
      lease: this.#lease,
      log: ourLog,
      clientErrors,
      callSession: (call) => this.#call(call),
      onEnded: (ended, _fence, reason, error) => this.#ended(ended, reason, error),
    });
    this.#lease.extend(deadline);
    const id = parseSessionKey(key);
    this.#count(host, id.key);
    setInterval(() => this.#count(host, id.key), LOOK_MS);
    // Before the session: its constructor may never come back.
    this.#link.tell({ type: "ready" });
    host.activate(id, fence);
    this.#host = host;
    this.#begun.resolve(host);
  }

  #count(host: SessionHostControl, key: SessionKey): void {
    countProgress(this.#options.progress);
    this.#link.sweep(performance.now());
    const now = host.describe(key);
    if (now === undefined) return;
    const { state, sockets, inFlight, timers, lastActiveAt } = now;
    const message: FromEnclosed = { type: "state", state: { state, sockets, inFlight, timers, lastActiveAt } };
    const text = JSON.stringify(message);
    if (text === this.#toldState) return;
    this.#toldState = text;
    this.#link.tell(message);
  }

  #fetch(host: SessionHostControl, call: SessionCall): ServedCall<SessionReply> {
    if (this.#crash !== undefined) throw this.#crash;
    const reply = host.fetch(call);
    return reply instanceof Promise
      ? reply.then((value) => ({ status: "reply", reply: value }))
      : { status: "reply", reply };
  }

  async #connect(
    host: SessionHostControl,
    call: SessionCall,
    client: ClientEnd,
  ): Promise<{ readonly status: "reply"; readonly reply: ConnectAnswer }> {
    if (this.#crash !== undefined) throw this.#crash;
    const reply = await host.connect(call, client);
    if (reply.status === "refused") throw reply.error;
    return { status: "reply", reply };
  }

  #ended(id: SessionId, reason: EndReason, error: unknown): void {
    if (reason === "crashed") this.#crash = crashed(id, error, this.#clientErrors).begun;
    if (reason === "killed") this.#crash = MeshError.from(error);
    this.#link.tell({ type: "ended", reason, ...(error === undefined ? {} : { error: toldOf(error) }) });
  }

  /** What stubs ask of other sessions goes through the worker. */
  async #call(call: SessionCall): Promise<SessionReply> {
    const outcome = await this.#link.asker.call(call, { epoch: 0, stale: undefined });
    if (outcome.status === "reply") return outcome.reply;
    throw outcome.status === "moved" ? new MeshError("bad_frame", "a worker sends its enclosure away") : outcome.error;
  }
}

/** Session code may throw anything, a value whose getters throw included. */
function toldOf(error: unknown): ToldError {
  return { message: messageOf(error), stack: traceOf(error) };
}
