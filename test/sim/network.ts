// The simulated network between workers: links as the router sees them (mesh/link/port.ts), with what gRPC over TCP does to them. Messages
// of one link keep their order. A way that is blocked holds them back, until it opens or keep-alive gives the link up. A process that dies
// closes its links; one that is stopped keeps them, silent. Lifelines and probes of primaries are here too.

import { MeshError, type AnswerFrame, type AskFrame, type Member, type WorkerId } from "#proto";
import type { SessionCall, SessionReply } from "../../mesh/call.ts";
import type { CallOptions, CallOutcome, LinkService, Links, Served } from "../../mesh/link/port.ts";
import type { ProbeResult, TcpAddress } from "../../mesh/probe.ts";
import type { Random } from "./random.ts";
import type { MachineClock, Process, Timeline } from "./timeline.ts";

/** As in mesh/link: from the first use until the peer's Hello. */
const CONNECT_TIMEOUT_MS = 2_000;
/** As gRPC's keep-alive is set there: a silent peer is given up so long after. */
const KEEP_ALIVE_MS = { least: 2_000, most: 4_000 };
const PROBE_MS = 300;
const LEAVING_MS = 1_000;
const HEAD_GRACE_MS = 5_000;
const FOLLOW_RETRY_MS = 1_000;

/** One worker as the network knows it. */
export interface Endpoint {
  readonly id: WorkerId;
  readonly node: string;
  readonly process: Process;
  readonly clock: MachineClock;
  readonly service: LinkService;
}

export interface NetworkCounts {
  messages: number;
  moved: number;
  unreached: number;
  broken: number;
}

interface Exchange {
  /** The link broke: the peer may or may not have heard. */
  broken(error: MeshError): void;
}

/** A lifeline connection. */
interface Follower {
  readonly node: string;
  readonly from: Process;
  readonly fromNode: string;
  readonly onEnd: () => void;
}

type Side = "asker" | "answerer";

class Link {
  readonly asker: Endpoint;
  readonly to: WorkerId;
  state: "connecting" | "up" | "closed" = "connecting";
  answererOpen = false;
  readonly exchanges = new Set<Exchange>();
  readonly waiting: ((error: MeshError | undefined) => void)[] = [];
  /** What cannot be delivered for now, by direction. */
  readonly held: Record<Side, (() => void)[]> = { asker: [], answerer: [] };
  readonly arrivesAt: Record<Side, number> = { asker: 0, answerer: 0 };

  constructor(asker: Endpoint, to: WorkerId) {
    this.asker = asker;
    this.to = to;
  }
}

export class Network {
  readonly timeline: Timeline;
  readonly random: Random;
  readonly counts: NetworkCounts = { messages: 0, moved: 0, unreached: 0, broken: 0 };
  /** Workers that were started, by id; dead ones too, whose addresses refuse. */
  readonly #endpoints = new Map<WorkerId, Endpoint>();
  readonly #ids = new Map<Process, WorkerId>();
  /** By the asking worker, then by the other. */
  readonly #links = new Map<WorkerId, Map<WorkerId, Link>>();
  /** By the answering worker; closed ones are taken out when they are met. */
  readonly #towards = new Map<WorkerId, Set<Link>>();
  /** `from>to`, one way, between nodes. */
  readonly #blocked = new Set<string>();
  /** Firewalls that refuse connections to these nodes, in their name. */
  readonly refusing = new Set<string>();
  /** Machines without power, and addresses that went with their processes: no kernel answers. */
  readonly dark = new Set<string>();
  /** By whom they follow. */
  readonly #followers = new Map<Process, Set<Follower>>();
  readonly #primaries = new Map<number, { readonly node: string; readonly process: Process }>();
  trace: ((line: string) => void) | undefined;
  /** Longest detour of a message while the network is slow. */
  slowMs = 0;

  constructor(timeline: Timeline, random: Random) {
    this.timeline = timeline;
    this.random = random;
  }

  // ---- faults ----

  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
    this.#giveUpLater(
      () => this.#all(),
      (link) => !this.reaches(link.asker.node, nodeOfWorker(link.to)),
    );
  }

  openAll(): void {
    this.#blocked.clear();
    this.refusing.clear();
    for (const link of this.#all()) {
      for (const side of ["asker", "answerer"] as const) for (const send of link.held[side].splice(0)) send();
    }
  }

  /** Keep-alive of all who talk to it notices, unless it goes on soon. */
  stopped(process: Process): void {
    this.#giveUpLater(
      () => this.#linksTo(process),
      () => process.paused,
    );
  }

  died(process: Process, silently: boolean): void {
    const id = this.#ids.get(process);
    if (id !== undefined) {
      for (const link of [...(this.#links.get(id)?.values() ?? [])]) this.#forget(link);
      if (!silently) for (const link of this.#linksTo(process)) this.#closeByAnswerer(link);
    }
    if (silently) {
      this.#giveUpLater(
        () => this.#linksTo(process),
        () => true,
      );
      return;
    }
    for (const follower of this.#followers.get(process) ?? []) this.#fin(follower);
    this.#followers.delete(process);
  }

  /** Both ways. */
  reaches(a: string, b: string): boolean {
    return this.#open(a, b) && this.#open(b, a);
  }

  // ---- workers ----

  attach(endpoint: Endpoint): Links {
    this.#endpoints.set(endpoint.id, endpoint);
    this.#ids.set(endpoint.process, endpoint.id);
    return {
      call: (to, call, options) => this.#call(endpoint, to, call, options),
      connect: async () => ({ status: "failed", error: new MeshError("bad_upgrade", "no sockets in the simulation") }),
      ask: (to, question, timeoutMs) => this.#ask(endpoint, to, question, timeoutMs),
      retain: (members) => this.#retainPeers(endpoint, members),
      close: async () => {
        for (const link of [...(this.#links.get(endpoint.id)?.values() ?? [])]) this.#closeByAsker(link);
      },
    };
  }

  /** What the link server of the worker does with a new view. */
  retainAskers(endpoint: Endpoint, members: readonly Member[]): void {
    const towards = this.#towards.get(endpoint.id);
    if (towards === undefined) return;
    const ids = new Set(members.map((member) => member.id));
    for (const link of [...towards]) {
      if (link.state === "closed") towards.delete(link);
      else if (link.answererOpen && !ids.has(link.asker.id)) this.#closeByAnswerer(link);
    }
  }

  /** The link server of a worker that ends in order. */
  closeServer(endpoint: Endpoint): void {
    for (const link of [...(this.#towards.get(endpoint.id) ?? [])]) this.#closeByAnswerer(link);
  }

  // ---- primaries ----

  /** The port stands for the process. */
  addPrimary(port: number, node: string, process: Process): void {
    this.#primaries.set(port, { node, process });
  }

  follow(from: Process, fromNode: string, address: TcpAddress, onEnd: () => void): () => void {
    let stopped = false;
    let stop = (): void => {};
    const connect = (): void => {
      if (stopped || !from.alive) return;
      const to = this.#primaries.get(address.port) ?? this.#endpoints.get(address.host as WorkerId);
      if (to === undefined) return;
      if (
        to.process.alive &&
        this.reaches(fromNode, to.node) &&
        !this.refusing.has(to.node) &&
        !this.dark.has(to.node)
      ) {
        const follower = { node: to.node, from, fromNode, onEnd: () => void (stopped || onEnd()) };
        let followers = this.#followers.get(to.process);
        if (followers === undefined) this.#followers.set(to.process, (followers = new Set()));
        followers.add(follower);
        stop = () => this.#followers.get(to.process)?.delete(follower);
      } else if (to.process.alive) {
        this.timeline.after(FOLLOW_RETRY_MS, from, connect);
      }
    };
    this.timeline.after(this.travelMs(), from, connect);
    return () => {
      stopped = true;
      stop();
    };
  }

  probe(from: Process, fromNode: string, address: TcpAddress): Promise<ProbeResult> {
    return new Promise((resolve) => {
      const primary = this.#primaries.get(address.port);
      const worker = this.#endpoints.get(address.host as WorkerId);
      const node = primary?.node ?? worker?.node ?? "";
      const process = primary?.process ?? worker?.process;
      const answers = process !== undefined && !this.dark.has(node) && this.reaches(fromNode, node);
      this.timeline.after(answers ? this.travelMs() : PROBE_MS, from, () => {
        if (!answers) resolve("unknown");
        else resolve(process.alive && !this.refusing.has(node) ? "open" : "refused");
      });
    });
  }

  travelMs(): number {
    const usual = this.random.between(0.1, 3);
    return this.slowMs > 0 && this.random.chance(0.2) ? usual + this.random.next() * this.slowMs : usual;
  }

  // ---- exchanges ----

  async #call(from: Endpoint, to: Member, call: SessionCall, options: CallOptions): Promise<CallOutcome<SessionReply>> {
    const link = this.#linkTo(from, to);
    if (link.state === "connecting") {
      const error = await this.#whenUp(link);
      if (error !== undefined) {
        this.counts.unreached++;
        return { status: "unreached", error };
      }
    }
    return new Promise((resolve) => {
      const settle = (outcome: CallOutcome<SessionReply>): void => {
        if (!link.exchanges.delete(exchange)) return;
        cancel();
        if (outcome.status === "moved") {
          this.counts.moved++;
          this.trace?.(`${to.id} sends ${from.id} with ${call.id.key} to ${outcome.worker ?? "nobody"}`);
        }
        resolve(outcome);
      };
      const exchange: Exchange = { broken: (error) => settle({ status: "failed", error }) };
      link.exchanges.add(exchange);
      const cancel = from.clock.timer(call.timeoutMs + HEAD_GRACE_MS, () =>
        settle({ status: "failed", error: new MeshError("timeout", "the session's host did not answer in time") }),
      );
      this.#send(link, "answerer", (peer) => {
        const answered = (outcome: CallOutcome<SessionReply>): void =>
          this.#send(link, "asker", () => settle(outcome), peer);
        this.#serve(() => peer.service.call(from.id, call, options), answered);
      });
    });
  }

  #serve(
    serve: () => Served<SessionReply> | Promise<Served<SessionReply>>,
    answered: (outcome: CallOutcome<SessionReply>) => void,
  ): void {
    const failed = (error: unknown): void => answered({ status: "failed", error: MeshError.from(error) });
    try {
      const served = serve();
      if (served instanceof Promise) void served.then(answered, failed);
      else answered(served);
    } catch (error) {
      failed(error);
    }
  }

  async #ask(from: Endpoint, to: Member, question: AskFrame, timeoutMs: number): Promise<AnswerFrame> {
    const link = this.#linkTo(from, to);
    return new Promise((resolve, reject) => {
      let over = false;
      const finish = (): boolean => {
        if (over) return false;
        over = true;
        cancel();
        link.exchanges.delete(exchange);
        return true;
      };
      const exchange: Exchange = { broken: (error) => void (finish() && reject(error)) };
      const cancel = from.clock.timer(timeoutMs, () => exchange.broken(new MeshError("timeout", "no answer in time")));
      const send = (): void => {
        if (over) return;
        link.exchanges.add(exchange);
        this.#send(link, "answerer", (peer) => {
          const back = (settle: () => void): void => this.#send(link, "asker", () => void (finish() && settle()), peer);
          void Promise.resolve()
            .then(() => peer.service.ask(from.id, question))
            .then(
              (answer) => back(() => resolve(answer)),
              (error: unknown) => back(() => reject(MeshError.from(error))),
            );
        });
      };
      if (link.state === "up") send();
      else void this.#whenUp(link).then((error) => (error === undefined ? send() : exchange.broken(error)));
    });
  }

  // ---- links ----

  #linkTo(from: Endpoint, to: Member): Link {
    let mine = this.#links.get(from.id);
    if (mine === undefined) this.#links.set(from.id, (mine = new Map()));
    const known = mine.get(to.id);
    if (known !== undefined) return known;
    const link = new Link(from, to.id);
    mine.set(to.id, link);
    let towards = this.#towards.get(to.id);
    if (towards === undefined) this.#towards.set(to.id, (towards = new Set()));
    towards.add(link);
    const fail = (why: string): void => this.#closeByAsker(link, new MeshError("no_host", why));
    const cancel = from.clock.timer(CONNECT_TIMEOUT_MS, () => {
      if (link.state === "connecting") fail("no Hello in time");
    });
    const peer = this.#endpoints.get(to.id);
    const refused = (why: string): void => {
      this.timeline.after(this.travelMs(), from.process, () => {
        cancel();
        if (link.state === "connecting") fail(why);
      });
    };
    const reachable = peer !== undefined && this.reaches(from.node, peer.node) && !this.dark.has(peer.node);
    if (!reachable) return link;
    if (!peer.process.alive || this.refusing.has(peer.node)) {
      refused("connection refused");
      return link;
    }
    const epoch = this.#epochOf(from);
    this.timeline.after(this.travelMs(), peer.process, () => {
      this.counts.messages++;
      void peer.service.admit(from.id, epoch).then((admitted) => {
        if (!admitted) return refused("not admitted");
        link.answererOpen = true;
        this.#send(
          link,
          "asker",
          () => {
            cancel();
            if (link.state !== "connecting") return;
            link.state = "up";
            for (const wake of link.waiting.splice(0)) wake(undefined);
          },
          peer,
        );
      });
    });
    return link;
  }

  readonly #epochs = new Map<WorkerId, () => number>();

  /** Whose Hello carries which epoch. */
  epochOf(endpoint: Endpoint, epoch: () => number): void {
    this.#epochs.set(endpoint.id, epoch);
  }

  #epochOf(endpoint: Endpoint): number {
    return this.#epochs.get(endpoint.id)?.() ?? 0;
  }

  #all(): Link[] {
    return [...this.#links.values()].flatMap((links) => [...links.values()]);
  }

  #linksTo(process: Process): Link[] {
    const id = this.#ids.get(process);
    return id === undefined ? [] : [...(this.#towards.get(id) ?? [])];
  }

  #whenUp(link: Link): Promise<MeshError | undefined> {
    if (link.state === "up") return Promise.resolve(undefined);
    if (link.state === "closed") return Promise.resolve(new MeshError("no_host", "the link is closed"));
    return new Promise((resolve) => void link.waiting.push(resolve));
  }

  /** In order behind what was sent on the link that way before; held back while the way is blocked; lost with the link. */
  #send(link: Link, to: Side, deliver: (peer: Endpoint) => void, from?: Endpoint): void {
    const peer = this.#endpoints.get(link.to);
    if (peer === undefined || (from !== undefined && !from.process.alive)) return;
    const [a, b] = to === "answerer" ? [link.asker.node, peer.node] : [peer.node, link.asker.node];
    if (!this.#open(a, b)) {
      link.held[to].push(() => this.#send(link, to, deliver));
      return;
    }
    this.counts.messages++;
    const at = Math.max(link.arrivesAt[to], this.timeline.now + this.travelMs());
    link.arrivesAt[to] = at;
    const owner = to === "answerer" ? peer.process : link.asker.process;
    this.timeline.after(at - this.timeline.now, owner, () => {
      if (to === "answerer" ? link.answererOpen : link.state !== "closed") deliver(peer);
    });
  }

  #closeByAsker(link: Link, error = new MeshError("session_lost", "this worker closes its links")): void {
    this.#breakAsker(link, error);
    const peer = this.#endpoints.get(link.to);
    this.timeline.after(this.travelMs(), peer?.process, () => void (link.answererOpen = false));
  }

  #closeByAnswerer(link: Link): void {
    link.answererOpen = false;
    const peer = this.#endpoints.get(link.to);
    const tell = (): void => {
      const at = Math.max(link.arrivesAt.asker, this.timeline.now + this.travelMs());
      this.timeline.after(at - this.timeline.now, link.asker.process, () => this.#breakAsker(link));
    };
    if (peer !== undefined && this.#open(peer.node, link.asker.node)) tell();
    else link.held.asker.push(tell);
  }

  #breakAsker(link: Link, error = new MeshError("session_lost", `the link to worker ${link.to} broke`)): void {
    if (link.state === "closed") return;
    const connecting = link.state === "connecting";
    this.#forget(link);
    if (!connecting && link.exchanges.size > 0) this.counts.broken++;
    for (const exchange of [...link.exchanges]) exchange.broken(error);
    for (const wake of link.waiting.splice(0)) wake(error);
  }

  #forget(link: Link): void {
    link.state = "closed";
    const mine = this.#links.get(link.asker.id);
    if (mine?.get(link.to) === link) mine.delete(link.to);
    this.#towards.get(link.to)?.delete(link);
  }

  /** As the asking side does with a new view: nothing new, and a second for what is under way. */
  #retainPeers(endpoint: Endpoint, members: readonly Member[]): void {
    const mine = this.#links.get(endpoint.id);
    if (mine === undefined || mine.size === 0) return;
    const ids = new Set(members.map((member) => member.id));
    for (const [to, link] of mine) {
      if (ids.has(to)) continue;
      mine.delete(to);
      endpoint.clock.timer(link.exchanges.size === 0 ? 0 : LEAVING_MS, () => this.#closeByAsker(link));
    }
  }

  #giveUpLater(links: () => Iterable<Link>, isSilent: (link: Link) => boolean): void {
    const ms = this.random.between(KEEP_ALIVE_MS.least, KEEP_ALIVE_MS.most);
    this.timeline.after(ms, undefined, () => {
      for (const link of links()) {
        if (link.state !== "up" || !isSilent(link)) continue;
        link.answererOpen = false;
        // The asking side notices in its own time.
        this.timeline.after(0, link.asker.process, () => this.#breakAsker(link));
      }
    });
  }

  #fin({ node, ...follower }: Follower): void {
    // Through a blocked way no FIN arrives, and later the machine answers with a RST, which proves nothing.
    if (this.dark.has(node) || !this.reaches(node, follower.fromNode)) return;
    this.timeline.after(this.travelMs(), follower.from, follower.onEnd);
  }

  #open(from: string, to: string): boolean {
    return this.#blocked.size === 0 || from === to || !this.#blocked.has(`${from}>${to}`);
  }
}

function nodeOfWorker(id: WorkerId): string {
  return id.slice(0, id.indexOf("/"));
}
