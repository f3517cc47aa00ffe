// One life of a node, from forking its workers to its end or eviction: the workers, the membership, and what each must
// know of the other. A worker's death changes the view at once; a view goes to every worker.

import { randomBytes } from "node:crypto";
import {
  MeshError,
  type NodeRecord,
  type RelayedFrame,
  type RelayFrame,
  type View,
  type WorkerLoad,
  type WorkerRecord,
} from "#proto";
import {
  followLifeline,
  probe,
  startMembership,
  systemClock,
  type ContactAnswer,
  type Kv,
  type Membership,
} from "#mesh";
import type { NodeConfig } from "../config.ts";
import type { FaultEvent, FromWorker, ModuleReport, Serves, WorkerAnswer, WorkerQuery } from "../ipc.ts";
import type { Log } from "../log.ts";
import { WorkerPulse } from "./worker-pulse.ts";
import { WorkerPool, type WorkerProcess } from "./worker-pool.ts";
import { WorkerQuestions } from "./worker-questions.ts";

/** Time for sessions to run `onStop` when the node ends without a drain. */
const STOP_LIMIT_MS = 2_000;
/** On top of that, for sockets to close; and again for processes to exit, before they are killed. */
const EXIT_GRACE_MS = 1_000;
/** Peers close their links within milliseconds of the view that says we left; one that is stuck must not keep us. */
const LINK_GRACE_MS = 1_000;
/** A registry that does not answer must not keep a node from ending. */
const LEAVE_LIMIT_MS = 2_000;
/**
 * An outage of the registry may last so long before sessions are held although all nodes are well. A minute and what it takes to come back: the
 * restart of a machine is ridden out. Larger: a majority that falls silent at once keeps its names for longer.
 */
const OUTAGE_CAP_MS = 75_000;
/** A worker tells within 3 s what its application waits for. One that has told nothing by then cannot: its event loop stands. */
const MUTE_MS = 5_000;
/** On top of the start limit: workers keep it themselves and know more to say, unless they are stuck. */
const START_GRACE_MS = 1_000;
/** A worker that has not come to load the application by then will not. */
const BEGIN_LIMIT_MS = 60_000;
/** Why one is mute. */
const BUSY = "it is still being loaded: this machine may be busy, or the module computes or loops at its top level";

export interface NodeInfo {
  readonly id: string;
  /** Base URL of the gateway, e.g. `http://127.0.0.1:8080`. */
  readonly gateway: string;
  readonly admin: string;
  readonly pid: number;
  readonly workers: readonly { readonly index: number; readonly pid: number }[];
  readonly serves: Serves;
}

/** What the process holds open through all lives of the node. */
export interface NodePorts {
  readonly admin: number;
  readonly lifeline: number;
}

export interface LifeEvents {
  onReady(info: NodeInfo): void;
  onFault(event: FaultEvent): void;
  /** The application takes long to load, and what is known of why. Once a start. */
  onSlow(why: string): void;
  /** What the application imports, of every worker. Left out where nobody wants to know: it costs a hook in each import. */
  onModules?(report: ModuleReport): void;
}

export class Life {
  readonly #config: NodeConfig;
  readonly #log: Log;
  readonly #kv: Kv;
  readonly #ports: NodePorts;
  readonly #events: LifeEvents;
  readonly #pool: WorkerPool;
  readonly #pulse: WorkerPulse;
  readonly #started = Promise.withResolvers<void>();
  readonly #fenced = Promise.withResolvers<string>();
  readonly #empty = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  readonly #ownLoads = new Map<number, WorkerLoad>();
  readonly questions: WorkerQuestions;
  #loads: ReadonlyMap<string, readonly WorkerLoad[]> = new Map();
  #membership: Membership | undefined;
  #deadline = 0;
  #port = 0;
  #serves: Serves = { kinds: [], ownFetch: false };
  #draining = false;
  #ending = false;
  #ready = false;
  #slow = false;
  #loading = false;
  #startTimers: readonly NodeJS.Timeout[] = [];

  constructor(config: NodeConfig, log: Log, ports: NodePorts, kv: Kv, events: LifeEvents) {
    this.#config = config;
    this.#log = log;
    this.#kv = kv;
    this.#ports = ports;
    this.#events = events;
    this.#pool = new WorkerPool(config, log, {
      onMessage: (worker, message) => this.#onMessage(worker, message),
      onExit: (worker, how) => this.#onExit(worker, how),
      tellModules: events.onModules !== undefined,
    });
    this.#pulse = new WorkerPulse(config.turnBudgetMs, (index, silentMs) => {
      this.#log.error("a worker does not answer; it is killed and replaced", { worker: index, silentMs });
      this.#pool.killOne(index);
    });
    this.questions = new WorkerQuestions(this.#pool);
  }

  get view(): View | undefined {
    return this.#membership?.view;
  }

  get suspended(): boolean {
    return this.#membership?.suspended ?? true;
  }

  get loads(): ReadonlyMap<string, readonly WorkerLoad[]> {
    return this.#loads;
  }

  get processes(): readonly WorkerProcess[] {
    return this.#pool.processes;
  }

  /** Settles with the reason when the node was evicted. */
  get fenced(): Promise<string> {
    return this.#fenced.promise;
  }

  async start(): Promise<void> {
    this.#pool.start();
    this.#startTimers = [
      setTimeout(() => {
        this.#started.reject(new MeshError("internal", `no worker ran within ${BEGIN_LIMIT_MS} ms of its start`));
      }, BEGIN_LIMIT_MS),
    ];
    try {
      await this.#started.promise;
    } finally {
      this.#endStartTimers();
    }
    const self = this.#record();
    this.#membership = startMembership({
      kv: this.#kv,
      self,
      timings: {
        heartbeatMs: this.#config.heartbeatMs,
        suspendMs: this.#config.suspendMs,
        evictMs: this.#config.evictMs,
        outageCapMs: this.#config.registryOutage === "serve" ? Infinity : OUTAGE_CAP_MS,
      },
      foundHoldMs:
        this.#config.founding === "now" || this.#config.registry.kind === "memory" ? 0 : this.#config.evictMs,
      clock: systemClock,
      log: (level, message, fields) => this.#log[level](message, fields),
      peers: {
        follow: followLifeline,
        probe,
        ask: (node, timeoutMs) =>
          this.#askContact(node.id, { node: self.id, incarnation: self.incarnation }, timeoutMs),
        relay: (node, ask, timeoutMs) => this.#askRelay(node.id, ask, timeoutMs),
      },
      load: () => [...this.#ownLoads.values()],
      events: {
        onView: (view) => this.#pool.broadcast({ type: "view", view }),
        onDeadline: (deadline) => {
          this.#deadline = deadline;
          this.#pool.broadcast({ type: "deadline", deadline });
        },
        onFenced: (reason) => this.#fenced.resolve(reason),
        onLoads: (loads) => {
          this.#loads = loads;
          this.#pool.broadcast({ type: "loads", loads });
        },
      },
    });
    await this.#membership.join(this.#listeningWorkers());
  }

  async drain(limitMs: number, cutShort: Promise<void>): Promise<void> {
    this.#draining = true;
    this.#log.info("draining: no new sessions here; waiting for those that run", { limitMs, sessions: this.#sessions });
    this.#pool.broadcast({ type: "drain" });
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, limitMs);
    try {
      // A registry that is away must not keep the node from draining: routers learn from the workers' own answers.
      const announced = this.#membership?.drain().catch((error: unknown) => {
        this.#log.warn("could not announce the drain", { error: MeshError.from(error).message });
      });
      await Promise.race([announced, limit.promise, cutShort]);
      // Not before: whoever asks for one that has stopped would be sent here again.
      this.#pool.broadcast({ type: "empty" });
      await Promise.race([this.#empty.promise, limit.promise, cutShort]);
    } finally {
      clearTimeout(timer);
    }
  }

  async fence(reason: string): Promise<void> {
    this.#ending = true;
    this.#pulse.close();
    await this.#pool.end({ type: "fence", reason }, EXIT_GRACE_MS);
    await this.#membership?.close();
    this.#membership = undefined;
  }

  /** First the sessions, then the place in the view, then the processes: whoever still sends here gets an answer until the view says no. */
  async end(reason: "drain" | "shutdown"): Promise<void> {
    this.#ending = true;
    this.#pulse.close();
    this.#pool.retire();
    this.#pool.broadcast({ type: "stop", reason, limitMs: STOP_LIMIT_MS });
    this.#noteStopped();
    await within(this.#stopped.promise, STOP_LIMIT_MS + EXIT_GRACE_MS);
    // Once the view lacks this node, others take over its names: a worker that hangs must not wake up and act then.
    for (const worker of this.#pool.processes) if (!worker.stopped) this.#pool.killOne(worker.index);
    // Peers who do not read of our leave would keep their links.
    const graceMs = (await this.#leave()) ? LINK_GRACE_MS : 0;
    await this.#pool.end({ type: "exit", graceMs }, graceMs + EXIT_GRACE_MS);
  }

  async #leave(): Promise<boolean> {
    const membership = this.#membership;
    if (membership === undefined) return false;
    let hasLeft = false;
    const leaving = membership.leave().then(
      () => (hasLeft = true),
      (error: unknown) => {
        this.#log.warn("could not leave the view; the others will evict this node", {
          error: MeshError.from(error).message,
        });
      },
    );
    await within(leaving, LEAVE_LIMIT_MS);
    await membership.close();
    return hasLeft;
  }

  #record(): Omit<NodeRecord, "workers" | "state"> {
    const { node, role, machine, zone, labels } = this.#config;
    return {
      id: node,
      incarnation: randomBytes(9).toString("base64url"),
      role,
      machine,
      zone,
      labels,
      gateway: this.#url(this.#config.host, this.#port),
      admin: this.#url(this.#config.adminBind, this.#ports.admin),
      lifeline: { host: this.#config.host, port: this.#ports.lifeline },
      pid: process.pid,
    };
  }

  async #askContact(
    to: string,
    about: { readonly node: string; readonly incarnation: string },
    timeoutMs: number,
  ): Promise<ContactAnswer> {
    const answer = await this.#askByLink({ op: "contact", to, about, timeoutMs });
    return answer?.op === "contact" ? answer.answer : "unknown";
  }

  async #askRelay(to: string, ask: RelayFrame, timeoutMs: number): Promise<RelayedFrame | undefined> {
    const answer = await this.#askByLink({ op: "relay", to, ask, timeoutMs });
    return answer?.op === "relay" ? answer.relayed : undefined;
  }

  /** Links are the workers': any of ours may ask. Not always the same one, which may hang. */
  async #askByLink(query: WorkerQuery): Promise<WorkerAnswer | undefined> {
    const workers = this.#pool.processes;
    const worker = workers[Math.floor(Math.random() * workers.length)];
    return worker === undefined ? undefined : this.questions.ask(worker.index, query);
  }

  #url(host: string, port: number): string {
    return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  #listeningWorkers(): WorkerRecord[] {
    return this.#pool.processes.flatMap(({ index, incarnation, address }) =>
      address === undefined ? [] : [{ index, incarnation, address }],
    );
  }

  get #sessions(): number {
    return [...this.#ownLoads.values()].reduce((sum, load) => sum + load.sessions, 0);
  }

  #onMessage(worker: WorkerProcess, message: FromWorker): void {
    // Not before it listens: loading an application may take any time.
    if (worker.address !== undefined && !this.#ending) this.#pulse.heard(worker.index);
    switch (message.type) {
      case "loading":
        if (message.why !== undefined) this.#noteSlow(message.why);
        else if (this.#membership === undefined) this.#watchLoad();
        break;
      case "modules":
        this.#events.onModules?.(message.modules);
        break;
      case "listening":
        worker.address = message.address;
        this.#port = message.port;
        this.#serves = message.serves;
        this.#workerListens(worker);
        break;
      case "settled":
        worker.settled = true;
        this.#announceReady();
        break;
      case "refresh":
        this.#membership?.refresh(message.epoch).catch((error: unknown) => {
          this.#log.debug("could not read the view again", { error: MeshError.from(error).message });
        });
        break;
      case "load":
        this.#ownLoads.set(worker.index, message.load);
        worker.drained = !message.accepting && message.load.sessions === 0;
        if (this.#draining) this.#noteEmpty();
        break;
      case "event":
        this.#events.onFault(message.event);
        break;
      case "stopped":
        worker.stopped = true;
        this.#noteStopped();
        break;
      case "watchdog":
        if (!message.contained) {
          this.#log.warn("a session that hogs this worker will cost all sessions of it", { worker: worker.index });
        }
        break;
      case "importing":
        this.#log.debug("a session of a worker loads code", { worker: worker.index });
        break;
      case "contact":
        this.#pool.send(worker.index, {
          type: "contact",
          id: message.id,
          promised: this.#membership?.answerContact(message.node, message.incarnation) ?? false,
        });
        break;
      case "relay":
        // One that was fenced meanwhile says nothing: the peer asks another node.
        void this.#membership?.answerRelay(message.node, message.ask).then((relayed) => {
          this.#pool.send(worker.index, { type: "relay", id: message.id, relayed });
        });
        break;
      case "answer":
        this.questions.answered(message.id, message.answer);
        break;
      case "failed":
        // Before the first join this is the node's own failure to start; later, one worker's, which the pool tries again.
        this.#started.reject(new MeshError(message.code, message.message));
        if (this.#membership !== undefined) this.#log.error(message.message, { worker: worker.index });
        break;
    }
  }

  /** The first worker begins to load: one that gets stuck in it cannot tell. */
  #watchLoad(): void {
    if (this.#loading) return;
    this.#loading = true;
    const { app, startLimitMs } = this.#config;
    this.#endStartTimers();
    this.#startTimers = [
      setTimeout(() => this.#noteSlow(BUSY), MUTE_MS),
      setTimeout(() => {
        const message = `${app} did not finish loading within ${startLimitMs} ms: ${BUSY}`;
        this.#started.reject(new MeshError("bad_app", message));
      }, startLimitMs + START_GRACE_MS),
    ];
  }

  #endStartTimers(): void {
    for (const timer of this.#startTimers) clearTimeout(timer);
  }

  #noteSlow(why: string): void {
    if (this.#slow) return;
    this.#slow = true;
    this.#events.onSlow(why);
  }

  #workerListens(worker: WorkerProcess): void {
    const all = this.#pool.processes;
    if (this.#membership === undefined) {
      if (all.length === this.#config.workers && all.every((one) => one.address !== undefined)) this.#started.resolve();
      return;
    }
    this.#pool.send(worker.index, { type: "deadline", deadline: this.#deadline });
    this.#pool.send(worker.index, { type: "loads", loads: this.#loads });
    if (this.#draining) this.#pool.send(worker.index, { type: "drain" });
    this.#publishWorkers();
    this.#pool.send(worker.index, { type: "view", view: this.#membership.view });
  }

  #onExit(worker: WorkerProcess, how: string): void {
    const sessions = this.#ownLoads.get(worker.index)?.sessions ?? 0;
    this.#ownLoads.delete(worker.index);
    this.#pulse.forget(worker.index);
    if (this.#ending) return this.#noteStopped();
    if (this.#draining) this.#noteEmpty();
    this.#log.warn("a worker died; its sessions are lost, another takes its place", {
      worker: worker.index,
      pid: worker.pid,
      how,
      sessions,
    });
    if (this.#membership !== undefined) this.#publishWorkers();
  }

  /** Tells the mesh which workers there are, at once when one died: nobody needs a time-out to know. */
  #publishWorkers(): void {
    this.#membership?.setWorkers(this.#listeningWorkers()).catch((error: unknown) => {
      if (!this.#ending) this.#log.error("could not publish the workers", { error: MeshError.from(error).message });
    });
  }

  #announceReady(): void {
    const all = this.#pool.processes;
    if (this.#ready || all.length < this.#config.workers || !all.every((one) => one.settled)) return;
    this.#ready = true;
    this.#events.onReady({
      id: this.#config.node,
      gateway: this.#url(this.#config.host, this.#port),
      admin: this.#url(this.#config.adminBind, this.#ports.admin),
      pid: process.pid,
      workers: all.map(({ index, pid }) => ({ index, pid })),
      serves: this.#serves,
    });
  }

  #noteEmpty(): void {
    // A report from before the drain may miss a session that was started after it.
    if (this.#pool.processes.every((worker) => worker.drained)) this.#empty.resolve();
  }

  #noteStopped(): void {
    if (this.#pool.processes.every((worker) => worker.stopped)) this.#stopped.resolve();
  }
}

/** Waits for the work, but no longer than that. */
async function within(work: Promise<unknown>, limitMs: number): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const timer = setTimeout(limit.resolve, limitMs);
  await Promise.race([work, limit.promise]);
  clearTimeout(timer);
}
