// The router of one worker: carries a request to the one place where its session lives, and answers the other workers when they
// carry one here. It joins the pure directory with the session host below it and the links to its peers. A call is
// sent again only while nothing of it can have run: the peer was not reached, or said that it is not the host.

import { randomBytes } from "node:crypto";
import {
  MeshError,
  nodeOf,
  parseSessionId,
  parseSessionKey,
  type AnswerFrame,
  type AskFrame,
  type Fence,
  type Member,
  type RelayedFrame,
  type RelayFrame,
  type SessionId,
  type SessionKey,
  type View,
  type WorkerId,
  type WorkerLoad,
} from "#proto";
import { chooseHost, partitionOf } from "#placement";
import type { SessionCall, SessionReply } from "./call.ts";
import { ChangeSignal } from "./change-signal.ts";
import { systemClock, type Clock } from "./clock.ts";
import { Directory } from "./directory.ts";
import { EndedNotices } from "./ended-notices.ts";
import type { SessionHost } from "./host.ts";
import { HostedIndex } from "./hosted-index.ts";
import type { CallOptions, CallOutcome, LinkService, Links, Served } from "./link/port.ts";
import type { ContactAnswer } from "./outage.ts";
import { decodePartitions, encodePartitions } from "./partition-set.ts";
import { pause } from "./pause.ts";
import { RouteCache } from "./route-cache.ts";
import type { ClientEnd, ConnectAnswer, ConnectReply } from "./socket.ts";

/** How long a request waits for the mesh to settle before it answers `no_host`: longer than an eviction on silence takes. */
const SETTLE_MS = 10_000;
/** The same for a request that another worker sent here: shorter, so that its sender can still try elsewhere. */
const SETTLE_FOR_PEER_MS = 5_000;
/** Pause before a peer that could not be reached is tried again, unless a view comes first. */
const RETRY_MS = 100;
/** A directory question is answered from memory. Too small: a busy peer is asked twice. Too large: a recovery hangs on a dead one. */
const ASK_TIMEOUT_MS = 2_000;
/** Hops of one request between workers with different views. More means that the mesh is not settling. */
const BOUNCES_MAX = 16;
/** Expected draws for a local name are the number of workers; a mesh of 1,000 still finds one nearly always. */
const NAME_DRAWS_MAX = 8_192;

export interface RouterOptions {
  readonly self: WorkerId;
  readonly host: SessionHost;
  readonly links: Links;
  readonly lease: Lease;
  /** Asks for a view of at least this epoch; it arrives through `viewChanged`. */
  readonly refreshView: (epoch: number) => void;
  /** False: take no new session (draining, recycling). */
  readonly accepting: () => boolean;
  /** A node without contact to the registry asks ours; see `Membership.answerContact`. */
  readonly answerContact: (nodeId: string, incarnation: string) => Promise<boolean>;
  /** Or asks it to do something there; see `Membership.answerRelay`. Without it such questions are refused. */
  readonly answerRelay?: (nodeId: string, ask: RelayFrame) => Promise<RelayedFrame>;
  /** Numbers in [0, 1). */
  readonly draw: () => number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** A node's right to act, as its workers see it. */
export interface Lease {
  isOpen(): boolean;
  whenOpen(): Promise<void>;
}

/** One way to serve a call here, one to send it there. */
interface Attempt<Reply> {
  readonly id: SessionId;
  readonly onlyIfActive: boolean;
  readonly settleMs: number;
  here(): Reply | Promise<Reply>;
  there(to: Member, options: CallOptions): Promise<CallOutcome<Reply>>;
}

/** A call that was sent to a worker, and what came of it. */
interface Sent<Reply> {
  readonly worker: Member;
  /** Of the view in which it was sent. */
  readonly epoch: number;
  readonly outcome: CallOutcome<Reply>;
}

type Placement =
  | { readonly status: "here" }
  | { readonly status: "there"; readonly worker: Member }
  | { readonly status: "wait" };

export class Router {
  readonly #self: WorkerId;
  readonly #host: SessionHost;
  readonly #links: Links;
  readonly #options: RouterOptions;
  readonly #directory: Directory;
  readonly #hosted = new HostedIndex();
  readonly #routes = new RouteCache();
  readonly #clock: Clock;
  readonly #changes: ChangeSignal;
  readonly #notices: EndedNotices;
  /** Placements on other workers under way, so that two requests for a name never place it twice. Bounded by the requests under way. */
  readonly #placing = new Map<string, Promise<Placement>>();
  #loads: ReadonlyMap<string, readonly WorkerLoad[]> = new Map();
  /** Kinds that this worker, as owner, keeps for itself under the present loads. */
  readonly #kept = new Map<string, boolean>();
  /** Workers that are being asked what they host. */
  readonly #asking = new Set<WorkerId>();
  readonly #closing = new AbortController();
  #closed = false;

  constructor(options: RouterOptions) {
    this.#self = options.self;
    this.#host = options.host;
    this.#links = options.links;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#changes = new ChangeSignal(this.#clock);
    this.#directory = new Directory(options.self);
    this.#notices = new EndedNotices(this.#clock, (to, sessions) =>
      this.#links.ask(to, { epoch: this.epoch, ended: { sessions } }, ASK_TIMEOUT_MS),
    );
  }

  get epoch(): number {
    return this.#directory.view.epoch;
  }

  get view(): View {
    return this.#directory.view;
  }

  /** True once this worker is in the view and its partitions are open. */
  get settled(): boolean {
    return this.#directory.member(this.#self) !== undefined && this.#directory.recoveringCount === 0;
  }

  get members(): Member[] {
    return [...this.#directory.members];
  }

  get directoryEntries(): number {
    return this.#directory.entryCount;
  }

  viewChanged(view: View): void {
    const before = this.epoch;
    this.#directory.viewChanged(view);
    if (this.epoch === before) return;
    this.#kept.clear();
    const members = [...this.#directory.members];
    this.#links.retain(members);
    this.#routes.retain((worker) => this.#directory.member(worker) !== undefined);
    this.#recover();
    this.#changes.notify();
  }

  /** What the workers of each node reported last. */
  loadsChanged(loads: ReadonlyMap<string, readonly WorkerLoad[]>): void {
    this.#loads = loads;
    this.#kept.clear();
  }

  /** Settles when the view has `epoch` or more and no partition of ours is recovering, or after `ms`. */
  async whenSettled(ms: number): Promise<boolean> {
    const deadline = this.#clock.now() + ms;
    while (!this.settled) {
      const left = deadline - this.#clock.now();
      if (left <= 0 || this.#closed) return false;
      await this.#changes.wait(left);
    }
    return true;
  }

  route(call: SessionCall): SessionReply | Promise<SessionReply> {
    const { id, onlyIfActive } = call;
    const here = this.#host.has(id.key);
    if (!here) this.#refuse(id, false);
    const known = here ? undefined : this.#known(id.key);
    if (known !== undefined) {
      // The usual case of a hop. Whatever is unusual about it goes on as for any other call.
      const { epoch } = this;
      return this.#links
        .call(known, call, { epoch, stale: undefined })
        .then((outcome) =>
          outcome.status === "reply"
            ? outcome.reply
            : this.#carry(this.#request(call), { worker: known, epoch, outcome }),
        );
    }
    if (here || this.#startable(id, onlyIfActive)) {
      const reply = this.#host.fetch(call);
      return reply instanceof Promise
        ? reply.catch((error: unknown) => this.#again(error, this.#request(call)))
        : reply;
    }
    return this.#carry(this.#request(call));
  }

  async connect(call: SessionCall, client: ClientEnd): Promise<ConnectReply> {
    try {
      this.#refuse(call.id, true);
      return await this.#carry<ConnectAnswer>({
        id: call.id,
        onlyIfActive: call.onlyIfActive,
        settleMs: SETTLE_MS,
        here: async () => answerOf(await this.#host.connect(call, client)),
        there: (to, options) => this.#links.connect(to, call, client, options),
      });
    } catch (error) {
      return { status: "refused", error: MeshError.from(error) };
    }
  }

  /** Makes sure that the session is active somewhere. */
  async activate(id: SessionId): Promise<void> {
    await this.#carry<void>({
      id,
      onlyIfActive: false,
      settleMs: SETTLE_MS,
      here: () => {},
      there: async (to): Promise<CallOutcome<void>> => {
        try {
          const answer = await this.#links.ask(to, { epoch: this.epoch, place: { key: id.key } }, SETTLE_FOR_PEER_MS);
          return answer.ok
            ? { status: "reply", reply: undefined }
            : { status: "moved", worker: undefined, epoch: this.epoch };
        } catch (error) {
          return { status: "unreached", error: MeshError.from(error) };
        }
      },
    });
  }

  /** A new session's id that nobody can guess (128 random bits), in a partition of this worker where it has any. */
  createName(kind: string): SessionId {
    for (let draw = 0; ; draw++) {
      const id = parseSessionId(kind, randomBytes(16).toString("base64url"));
      if (draw >= NAME_DRAWS_MAX || this.#directory.isOpen(partitionOf(id.key))) return id;
      // A gateway or a draining node owns nothing: no draw would ever be local.
      if (draw === 0 && this.#directory.view.nodes.length > 0 && !this.#ownsAny()) return id;
    }
  }

  /** A session server here has ended: whoever indexes it may forget it. */
  ended(id: SessionId, fence: Fence): void {
    const partition = partitionOf(id.key);
    this.#hosted.ended(id.key, fence);
    const owner = this.#directory.ownerOf(partition);
    if (owner !== undefined && owner.id !== this.#self) this.#notices.add(owner, { key: id.key, fence });
    this.#changes.notify();
  }

  /** Where the session lives, as far as this worker may tell; `owns`: its word is final, also that nobody hosts it. */
  whereabouts(id: SessionId): { readonly owns: boolean; readonly host: WorkerId | undefined } {
    if (this.#host.has(id.key)) return { owns: true, host: this.#self };
    const location = this.#directory.locate(id.key, partitionOf(id.key));
    return {
      owns: location.status === "vacant" || location.status === "hosted",
      host: location.status === "hosted" ? location.worker.id : undefined,
    };
  }

  /** Asks a node whether it has contact to the registry, in the name of ours. Never rejects. */
  async askContact(
    to: string,
    about: { readonly node: string; readonly incarnation: string },
    timeoutMs: number,
  ): Promise<ContactAnswer> {
    const contact = { node: about.node, incarnation: about.incarnation };
    const answer = await this.#askNode(to, { epoch: this.epoch, contact }, timeoutMs);
    if (answer === undefined) return "unknown";
    return answer.ok ? "promised" : "denied";
  }

  /** Asks a node to do something in the registry for ours. Undefined: no answer. Never rejects. */
  async askRelay(to: string, relay: RelayFrame, timeoutMs: number): Promise<RelayedFrame | undefined> {
    return (await this.#askNode(to, { epoch: this.epoch, relay }, timeoutMs))?.relayed ?? undefined;
  }

  /** Through one worker of the node, and through another too when that fails or takes half of the time: it may hang, or have just died. */
  async #askNode(node: string, question: AskFrame, timeoutMs: number): Promise<AnswerFrame | undefined> {
    const workers = [...this.#directory.members].filter((member) => member.node.id === node);
    const at = Math.floor(this.#options.draw() * workers.length);
    const first = workers[at];
    const second = workers[(at + 1) % workers.length];
    if (first === undefined || second === undefined) return undefined;
    const answer = this.#links.ask(first, question, timeoutMs);
    if (first === second) return answer.catch(() => undefined);
    const settled = new AbortController();
    let early: AnswerFrame | undefined;
    const done = answer.then((found) => (early = found)).catch(() => {});
    void done.then(() => settled.abort());
    await pause(this.#clock, timeoutMs / 2, settled.signal);
    if (early !== undefined || this.#closed) return early;
    return Promise.any([answer, this.#links.ask(second, question, timeoutMs / 2)]).catch(() => undefined);
  }

  /** What the link server calls for peers. */
  readonly service: LinkService = {
    admit: async (from, epoch) => {
      if (this.#directory.member(from) === undefined) await this.#whenEpoch(epoch, SETTLE_FOR_PEER_MS);
      return this.#directory.member(from) !== undefined;
    },
    call: (_from, call, options) => {
      if (this.#serveable(call.id, call.onlyIfActive)) {
        const reply = this.#host.fetch(call);
        if (!(reply instanceof Promise)) return { status: "reply", reply };
        return reply.then(
          (value): Served<SessionReply> => ({ status: "reply", reply: value }),
          (error: unknown) =>
            this.#answerAgain(error, call.id, call.onlyIfActive, options, () => this.#host.fetch(call)),
        );
      }
      return this.#answer(call.id, call.onlyIfActive, options, () => this.#host.fetch(call));
    },
    connect: (_from, call, client, options) =>
      this.#answer(call.id, call.onlyIfActive, options, async () => answerOf(await this.#host.connect(call, client))),
    ask: (from, question) => this.#answerQuestion(from, question),
  };

  close(): void {
    this.#closed = true;
    this.#closing.abort();
    this.#notices.close();
    this.#changes.notify();
  }

  // ---- carrying a call ----

  /** Throws, before any session is started, what its class says to all such calls. */
  #refuse(id: SessionId, upgrade: boolean): void {
    const refusal = this.#host.refusalOf(id, upgrade);
    if (refusal !== undefined) throw refusal;
  }

  #request(call: SessionCall): Attempt<SessionReply> {
    return {
      id: call.id,
      onlyIfActive: call.onlyIfActive,
      settleMs: SETTLE_MS,
      here: () => this.#host.fetch(call),
      there: (to, options) => this.#links.call(to, call, options),
    };
  }

  /** True when the session lives here, or may be started here now without asking anybody. */
  #serveable(id: SessionId, onlyIfActive: boolean): boolean {
    return this.#host.has(id.key) || this.#startable(id, onlyIfActive);
  }

  /** Starts the session when it may be started here now without asking anybody. */
  #startable(id: SessionId, onlyIfActive: boolean): boolean {
    if (onlyIfActive || !this.#options.lease.isOpen() || !this.#options.accepting()) return false;
    const partition = partitionOf(id.key);
    if (!this.#directory.isOpen(partition) || !this.#keeps(id.kind)) return false;
    if (this.#placing.has(id.key) || this.#directory.locate(id.key, partition).status !== "vacant") return false;
    this.#activate(id, partition, this.#directory.claim());
    return true;
  }

  /** @param sent what has become of the call already */
  async #carry<Reply>(attempt: Attempt<Reply>, sent?: Sent<Reply>): Promise<Reply> {
    const deadline = this.#clock.now() + attempt.settleMs;
    let stale: WorkerId | undefined;
    let lastError: MeshError | undefined;
    for (let bounce = 0; bounce < BOUNCES_MAX || this.#clock.now() < deadline; bounce++) {
      const epoch = sent?.epoch ?? this.epoch;
      const target: Placement =
        sent === undefined
          ? await this.#target(attempt.id, attempt.onlyIfActive, stale)
          : { status: "there", worker: sent.worker };
      if (target.status === "here") {
        try {
          return await attempt.here();
        } catch (error) {
          if (!isStopped(error)) throw error;
          continue;
        }
      }
      if (target.status === "there") {
        const outcome = sent?.outcome ?? (await attempt.there(target.worker, { epoch: this.epoch, stale }));
        sent = undefined;
        stale = undefined;
        if (outcome.status === "reply") {
          this.#routes.set(attempt.id.key, target.worker.id);
          return outcome.reply;
        }
        if (outcome.status === "failed" && !isStopped(outcome.error)) throw outcome.error;
        this.#routes.delete(attempt.id.key);
        if (outcome.status === "moved") {
          if (outcome.worker !== undefined && outcome.worker !== this.#self) {
            this.#routes.set(attempt.id.key, outcome.worker);
          } else if (outcome.epoch <= this.epoch) {
            stale = target.worker.id;
          }
          if (outcome.epoch > this.epoch) await this.#whenEpoch(outcome.epoch, deadline - this.#clock.now());
          // The first bounces are how routing works; later ones mean that somebody's view is behind, so give it time.
          if (bounce < 3) continue;
        } else {
          lastError = outcome.error;
          // It has left the view while this waited for it: there is another to ask now.
          if (this.epoch !== epoch) continue;
        }
      }
      const left = deadline - this.#clock.now();
      if (left <= 0 || this.#closed) break;
      await this.#changes.wait(Math.min(left, RETRY_MS));
    }
    throw new MeshError("no_host", `no worker could take ${attempt.id.key} within ${attempt.settleMs} ms`, {
      session: attempt.id.key,
      retryAfterMs: 1_000,
      ...(lastError === undefined ? {} : { cause: lastError }),
    });
  }

  /** The other worker that the session was seen on last. */
  #known(key: SessionKey): Member | undefined {
    const worker = this.#routes.get(key);
    const member = worker === undefined ? undefined : this.#directory.member(worker);
    return member?.id === this.#self ? undefined : member;
  }

  async #target(id: SessionId, onlyIfActive: boolean, stale: WorkerId | undefined): Promise<Placement> {
    if (this.#host.has(id.key)) return { status: "here" };
    const known = this.#known(id.key);
    if (known !== undefined && known.id !== stale) return { status: "there", worker: known };
    const owner = this.#directory.ownerOf(partitionOf(id.key));
    if (owner === undefined) return { status: "wait" };
    if (owner.id !== this.#self) return { status: "there", worker: owner };
    return this.#place(id, onlyIfActive, stale);
  }

  /** As owner of the partition: where the session is, after placing it if need be. */
  #place(id: SessionId, onlyIfActive: boolean, stale: WorkerId | undefined): Placement | Promise<Placement> {
    if (this.#serveable(id, onlyIfActive)) return { status: "here" };
    const location = this.#directory.locate(id.key, partitionOf(id.key));
    if (location.status === "hosted" && location.worker.id !== stale)
      return { status: "there", worker: location.worker };
    if (location.status === "vacant" && onlyIfActive) {
      throw new MeshError("not_active", `${id.key} is not active`, { session: id.key });
    }
    if (location.status === "ceded") this.#options.refreshView(this.epoch + 1);
    if (location.status !== "vacant" && location.status !== "hosted") return { status: "wait" };
    const running = this.#placing.get(id.key);
    if (running !== undefined) return running;
    const placing = this.#placeElsewhere(id, stale).finally(() => this.#placing.delete(id.key));
    this.#placing.set(id.key, placing);
    return placing;
  }

  async #placeElsewhere(id: SessionId, stale: WorkerId | undefined): Promise<Placement> {
    const location = this.#directory.locate(id.key, partitionOf(id.key));
    if (location.status === "hosted") {
      if (location.worker.id !== stale) return { status: "there", worker: location.worker };
      return this.#verify(id, location.worker);
    }
    if (!this.#options.lease.isOpen()) {
      await Promise.race([this.#options.lease.whenOpen(), this.#changes.wait(RETRY_MS)]);
      return { status: "wait" };
    }
    const chosen = this.#choose(id.kind);
    if (chosen === undefined) return { status: "wait" };
    if (chosen.id === this.#self) {
      // Nothing was awaited since the directory called the session vacant, so nobody else can have been granted it.
      this.#activate(id, partitionOf(id.key), this.#directory.claim());
      return { status: "here" };
    }
    const fence = this.#directory.claim();
    this.#directory.granted(id.key, chosen.id, fence);
    try {
      const answer = await this.#links.ask(
        chosen,
        { epoch: fence.epoch, grant: { key: id.key, fence } },
        ASK_TIMEOUT_MS,
      );
      if (answer.ok) return { status: "there", worker: chosen };
      this.#directory.denied(id.key, chosen.id);
    } catch (error) {
      if (refusedToStart(error)) {
        this.#directory.denied(id.key, chosen.id);
        throw error;
      }
      // Unknown: the grant may have arrived. The entry stays; whoever finds nothing there makes us verify it.
    }
    return { status: "wait" };
  }

  /** Somebody was told by `worker` that the session is not there. Only the worker's own word to us counts. */
  async #verify(id: SessionId, worker: Member): Promise<Placement> {
    try {
      const fence = this.#directory.claim();
      const answer = await this.#links.ask(
        worker,
        { epoch: fence.epoch, locate: { key: id.key, fence } },
        ASK_TIMEOUT_MS,
      );
      if (answer.ok) return { status: "there", worker };
      this.#directory.denied(id.key, worker.id);
    } catch {
      // It may still host the session. If it is gone, the next view says so.
    }
    return { status: "wait" };
  }

  #choose(kind: string): Member | undefined {
    const members = [...this.#directory.members].filter(
      (member) =>
        member.node.role === "host" &&
        member.node.state === "up" &&
        (member.id !== this.#self || this.#options.accepting()),
    );
    const candidates = members
      .map((member) => ({
        slot: member.slot,
        labels: member.node.labels,
        load: this.#loads.get(member.node.id)?.find((load) => load.index === member.worker.index),
      }))
      .filter(({ load }) => load?.full !== true);
    const self = this.#directory.member(this.#self);
    const slot = chooseHost(self?.slot ?? "", candidates, this.#host.wishOf(kind), this.#options.draw);
    return members.find((member) => member.slot === slot);
  }

  /** Whether this worker, as owner, hosts new sessions of the kind itself. Worked out once for each report of loads. */
  #keeps(kind: string): boolean {
    let keeps = this.#kept.get(kind);
    if (keeps === undefined) {
      keeps = this.#host.wishOf(kind).policy === "owner-first" && this.#choose(kind)?.id === this.#self;
      this.#kept.set(kind, keeps);
    }
    return keeps;
  }

  #ownsAny(): boolean {
    const self = this.#directory.member(this.#self);
    return self !== undefined && self.node.role === "host" && self.node.state === "up";
  }

  /** A session that stopped before it looked at a request: the request may go to its successor. */
  #again<Reply>(error: unknown, attempt: Attempt<Reply>): Promise<Reply> {
    if (!isStopped(error)) throw error;
    return this.#carry(attempt);
  }

  // ---- answering peers ----

  #answerAgain<Reply>(
    error: unknown,
    id: SessionId,
    onlyIfActive: boolean,
    options: CallOptions,
    here: () => Reply | Promise<Reply>,
  ): Promise<Served<Reply>> {
    if (!isStopped(error)) throw error;
    return this.#answer(id, onlyIfActive, options, here);
  }

  /** Serves, or says who does; never carries on to a third worker. */
  async #answer<Reply>(
    id: SessionId,
    onlyIfActive: boolean,
    options: CallOptions,
    here: () => Reply | Promise<Reply>,
  ): Promise<Served<Reply>> {
    const deadline = this.#clock.now() + SETTLE_FOR_PEER_MS;
    let stale = options.stale;
    for (;;) {
      if (!this.#host.has(id.key) && options.epoch > this.epoch)
        await this.#whenEpoch(options.epoch, deadline - this.#clock.now());
      const owner = this.#directory.ownerOf(partitionOf(id.key));
      if (!this.#host.has(id.key) && owner?.id !== this.#self)
        return { status: "moved", worker: undefined, epoch: this.epoch };
      const place = this.#host.has(id.key) ? { status: "here" as const } : await this.#place(id, onlyIfActive, stale);
      if (place.status === "there") return { status: "moved", worker: place.worker.id, epoch: this.epoch };
      if (place.status === "here") {
        try {
          return { status: "reply", reply: await here() };
        } catch (error) {
          if (!isStopped(error)) throw error;
        }
      }
      stale = undefined;
      const left = deadline - this.#clock.now();
      if (left <= 0 || this.#closed) {
        throw new MeshError("no_host", `no worker could take ${id.key} within ${SETTLE_FOR_PEER_MS} ms`, {
          session: id.key,
          retryAfterMs: 1_000,
        });
      }
      if (place.status === "wait") await this.#changes.wait(Math.min(left, RETRY_MS));
    }
  }

  #answerQuestion(from: WorkerId, question: AskFrame): AnswerFrame | Promise<AnswerFrame> {
    if (question.recover) return this.#answerRecover(question.epoch, decodePartitions(question.recover.partitions));
    if (question.grant) return this.#answerGrant(parseSessionKey(question.grant.key), question.grant.fence);
    if (question.locate) {
      const id = parseSessionKey(question.locate.key);
      if (this.#host.has(id.key)) return answer(true);
      this.#promise([partitionOf(id.key)], question.locate.fence);
      return answer(false);
    }
    if (question.ended) {
      for (const session of question.ended.sessions) {
        const { key } = parseSessionKey(session.key);
        this.#directory.ended(from, key, session.fence);
        if (this.#routes.get(key) === from) this.#routes.delete(key);
      }
      return answer(true);
    }
    if (question.place) {
      const id = parseSessionKey(question.place.key);
      return this.#answer(id, false, { epoch: question.epoch, stale: undefined }, () => {}).then((served) =>
        answer(served.status === "reply" || served.worker !== undefined),
      );
    }
    if (question.contact) {
      const { node, incarnation } = question.contact;
      if (nodeOf(from) !== node) throw new MeshError("forbidden", `${from} does not speak for ${node}`);
      return this.#options.answerContact(node, incarnation).then(answer);
    }
    if (question.relay && this.#options.answerRelay !== undefined) {
      // The links' own word on who asks: the primary looks whose key it is.
      return this.#options
        .answerRelay(nodeOf(from), question.relay)
        .then((relayed) => ({ ...answer(relayed.outcome !== "away"), relayed }));
    }
    throw new MeshError("bad_frame", "a peer asked nothing that this version knows");
  }

  #answerRecover(epoch: number, partitions: Iterable<number>): AnswerFrame {
    this.#promise(partitions, { epoch, claim: 0 });
    return { ok: true, sessions: this.#hosted.in(partitions), more: false };
  }

  #answerGrant(id: SessionId, fence: Fence): AnswerFrame {
    if (this.#host.has(id.key)) return answer(true);
    if (!this.#options.accepting() || !this.#options.lease.isOpen()) return answer(false);
    if (!this.#directory.mayActivate(partitionOf(id.key), fence)) return answer(false);
    this.#activate(id, partitionOf(id.key), fence);
    return answer(true);
  }

  /** The only way by which a session comes to live here, so that a new owner is told of all of them. */
  #activate(id: SessionId, partition: number, fence: Fence): void {
    const placed = this.#hosted.activated(id.key, partition, fence);
    try {
      this.#host.activate(id, placed);
    } catch (error) {
      this.#hosted.ended(id.key, placed);
      throw error;
    }
  }

  // ---- keeping up with the mesh ----

  #promise(partitions: Iterable<number>, floor: Fence): void {
    if (this.#directory.promise(partitions, floor)) this.#recover();
  }

  /** Asks all who have not told what they host. Whoever is being asked already is asked for the rest by that conversation. */
  #recover(): void {
    for (const member of this.#directory.unheard) if (!this.#asking.has(member.id)) void this.#recoverFrom(member);
  }

  /**
   * Until the worker has told everything, or left the view: one question at a time, so that of many views in a row each costs nobody a
   * question of its own, and pauses of its own, which nothing else that happens cuts short.
   */
  async #recoverFrom(member: Member): Promise<void> {
    this.#asking.add(member.id);
    let pauseMs = RETRY_MS;
    for (;;) {
      const question = this.#closed ? undefined : this.#directory.question(member.id);
      if (question === undefined) break;
      const { epoch } = question;
      const ask: AskFrame = { epoch, recover: { partitions: encodePartitions(question.partitions) } };
      try {
        const answered = await this.#links.ask(member, ask, ASK_TIMEOUT_MS);
        if (this.#directory.recovered(member.id, question, answered.sessions)) this.#changes.notify();
        pauseMs = RETRY_MS;
      } catch {
        // It restarts, is cut off or is gone. As long as the view has it, only its own answer will do.
        await pause(this.#clock, pauseMs, this.#closing.signal);
        pauseMs = Math.min(pauseMs * 2, ASK_TIMEOUT_MS);
      }
    }
    this.#asking.delete(member.id);
  }

  async #whenEpoch(epoch: number, ms: number): Promise<void> {
    const deadline = this.#clock.now() + ms;
    if (this.epoch < epoch) this.#options.refreshView(epoch);
    while (this.epoch < epoch && !this.#closed) {
      const left = deadline - this.#clock.now();
      if (left <= 0) return;
      await this.#changes.wait(left);
    }
  }
}

function answerOf(reply: ConnectReply): ConnectAnswer {
  if (reply.status === "refused") throw reply.error;
  return reply;
}

/** The chosen worker's own word that it started nothing: no time-out and no broken link looks like this. */
function refusedToStart(error: unknown): boolean {
  return error instanceof MeshError && (error.code === "overloaded" || error.code === "unknown_kind");
}

function isStopped(error: unknown): boolean {
  return error instanceof MeshError && error.code === "session_stopped";
}

function answer(ok: boolean): AnswerFrame {
  return { ok, sessions: [], more: false };
}
