// A worker: gateway, session host, and its share of the directory, in one process. Everything it knows of the mesh comes from its
// primary over IPC and from its peers over links; it never talks to NATS.

import path from "node:path";
import { MeshError, traceOf, workerIdOf, type Fence, type SessionId, type RelayedFrame } from "#proto";
import {
  Router,
  createLinks,
  listenLinks,
  serveLifeline,
  type LinkListener,
  type Links,
  type SessionCall,
} from "#mesh";
import { Enclosures, joinHosts } from "../enclosure/enclosures.ts";
import { createGateway, type Gateway, type GatewayRouter } from "../gateway/gateway.ts";
import { allowedOriginsOf } from "../config.ts";
import { trustedProxiesOf } from "../gateway/trusted-proxies.ts";
import type { FromWorker, Serves, ToWorker, WorkerBoot, WorkerQuery } from "../ipc.ts";
import { createLog, type Log } from "../log.ts";
import type { MeshApplication } from "../session/application.ts";
import type { EndReason } from "../session/end-reason.ts";
import { installFaultHandlers } from "../session/faults.ts";
import { createSessionHost, type SessionHostControl, type SharedSessionHost } from "../session/host.ts";
import { loadApplication } from "../session/load-application.ts";
import { turns } from "../session/turns.ts";
import { FaultEvents } from "./fault-events.ts";
import { Descriptors } from "./descriptors.ts";
import { LoadMeter } from "./load-meter.ts";
import { PrimaryQuestions } from "./primary-questions.ts";
import { answerQuery } from "./session-queries.ts";
import { MemoryGuard } from "../memory/memory-guard.ts";
import { WorkerGuard } from "./worker-guard.ts";
import { WorkerLease } from "./worker-lease.ts";

/** Pace of load reports to the primary, which puts them into the node's heartbeat. */
const LOAD_MS = 500;
/** Sockets and requests under way get so long when the worker stops in order. */
const GATEWAY_GRACE_MS = 500;
/** Sessions of a worker that is to be replaced may go on for so long. Too large: what a kill left half done stays for long. */
const RETIRING_LIMIT_MS = 30_000;
/** And then have so long to stop in order. */
const RETIRING_STOP_MS = 2_000;
/** WebSocket close code "service restart": reconnect. */
const CLOSE_RESTART = 1012;

export class WorkerServer {
  readonly #boot: WorkerBoot;
  readonly #application: MeshApplication;
  readonly #log: Log;
  readonly #tell: (message: FromWorker) => void;
  readonly #lease = new WorkerLease();
  readonly #enclosures: Enclosures;
  /** Shared sessions and enclosed ones. */
  readonly #host: SessionHostControl;
  readonly #links: Links;
  readonly #router: Router;
  readonly #gateway: Gateway;
  readonly #meter: LoadMeter;
  readonly #contacts = new PrimaryQuestions<boolean>();
  readonly #relays = new PrimaryQuestions<RelayedFrame>();
  readonly #faults: FaultEvents;
  readonly #guard: WorkerGuard;
  readonly #memory: MemoryGuard;
  readonly #exit: (code: number) => void;
  #listener: LinkListener | undefined;
  readonly #descriptors = new Descriptors();
  #loadTimer: NodeJS.Timeout | undefined;
  /** No new session starts here any more. */
  #closed = false;
  /** Nor while memory is short. */
  #full = false;
  /** True: load balancers should look elsewhere. */
  #stopping = false;
  #settled = false;
  /** Set while the worker waits to be empty, to be replaced then. */
  #retiringSince: number | undefined;

  /** Loads the application; throws `bad_app` with what is wrong with it. `exit` ends the process after a failure of our own. */
  static async create(boot: WorkerBoot, tell: (message: FromWorker) => void, exit: (code: number) => void) {
    tell({ type: "loading" });
    const application = await loadApplication(boot.config.app, {
      limitMs: boot.config.startLimitMs,
      onSlow: (why) => tell({ type: "loading", why }),
    });
    return new WorkerServer(boot, application, tell, exit);
  }

  private constructor(
    boot: WorkerBoot,
    application: MeshApplication,
    tell: (message: FromWorker) => void,
    exit: (code: number) => void,
  ) {
    const { config, index } = boot;
    const self = workerIdOf(config.node, boot);
    this.#faults = new FaultEvents(index, (event) => tell({ type: "event", event }));
    this.#boot = boot;
    this.#application = application;
    this.#tell = tell;
    this.#exit = exit;
    this.#log = createLog(config.log, { node: config.node, worker: index });
    const hosting = {
      application,
      node: config.node,
      worker: index,
      lease: this.#lease,
      log: this.#log,
      clientErrors: config.clientErrors,
      callSession: (call: SessionCall) => this.#router.route(call),
      onEnded: (id: SessionId, fence: Fence, reason: EndReason, error?: unknown) => {
        this.#router.ended(id, fence);
        this.#faults.note(id, reason, error);
        if (this.#stopping && this.#host.size === 0) this.#tellLoad();
      },
    };
    this.#enclosures = new Enclosures({
      ...hosting,
      app: config.app,
      logFormat: config.log,
      max: { thread: config.threadsMax, process: config.processesMax },
      turnBudgetMs: config.turnBudgetMs,
    });
    const shared = createSessionHost(hosting);
    this.#host = joinHosts(shared, this.#enclosures, application);
    installFaultHandlers(
      (error) => {
        this.#log.error("an error that belongs to no session ends this worker", { stack: traceOf(error) });
        exit(1);
      },
      (error) => this.#log.error("an error of the application's code at the gateway", { error }),
    );
    this.#links = createLinks({
      self,
      mesh: config.mesh,
      machine: config.machine,
      log: (level, message, fields) => this.#log[level](message, fields),
      epoch: () => this.#router.epoch,
    });
    this.#router = new Router({
      self,
      host: this.#host,
      links: this.#links,
      lease: this.#lease,
      refreshView: (epoch) => tell({ type: "refresh", epoch }),
      accepting: () => this.#accepting && config.role === "host",
      answerContact: (node, incarnation) =>
        this.#contacts.ask((id) => tell({ type: "contact", id, node, incarnation })),
      answerRelay: (node, ask) => this.#relays.ask((id) => tell({ type: "relay", id, node, ask })),
      draw: Math.random,
    });
    this.#gateway = createGateway({
      application,
      sessions: this.#host.stubs,
      router: this.#gatewayRouter(application, shared),
      log: this.#log,
      proxies: trustedProxiesOf(config),
      clientErrors: config.clientErrors,
      allowedOrigins: allowedOriginsOf(config),
    });
    this.#meter = new LoadMeter(index, () => this.#host.size);
    this.#guard = new WorkerGuard({
      config,
      host: this.#host,
      log: this.#log,
      onLoading: () => tell({ type: "importing" }),
      onTainted: () => this.#retire(),
    });
    this.#memory = new MemoryGuard({
      mark: config.memoryMarkPercent / 100,
      patienceMs: config.memoryPatienceMs,
      log: this.#log,
      host: shared,
      onFull: (full) => {
        this.#full = full;
        this.#tellLoad();
      },
      onGivenUp: () => this.#retire(),
    });
  }

  /** `seal` is called once all is in place that is ours, before the first session starts. */
  async start(seal: () => void): Promise<void> {
    const { config, index, incarnation } = this.#boot;
    this.#tell({ type: "watchdog", contained: await this.#guard.start() });
    seal();
    this.#listener = await listenLinks({
      self: workerIdOf(config.node, this.#boot),
      mesh: config.mesh,
      bind: config.bind,
      socketPath: path.join(config.socketDir, `mesh-${process.pid}-${incarnation}.sock`),
      service: this.#router.service,
      apart: turns.apart,
      epoch: () => this.#router.epoch,
    });
    // Never closed: that is left to the kernel, which does it when nothing of this process runs any more.
    const lifeline = await serveLifeline(config.bind);
    const port = await this.#gateway.listen({ port: config.port, bind: config.bind });
    this.#tell({
      type: "listening",
      address: {
        host: config.host,
        port: this.#listener.port,
        socket: this.#listener.socket,
        lifeline: lifeline.port,
      },
      port,
      serves: this.#serves,
    });
    this.#loadTimer = setInterval(() => {
      this.#tellLoad();
      this.#lookAtDescriptors();
      this.#endIfRetiring();
    }, LOAD_MS);
    this.#log.debug("listening", { index, port });
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case "view":
        this.#router.viewChanged(message.view);
        this.#listener?.retain(this.#router.members);
        void this.#tellWhenSettled();
        break;
      case "deadline":
        this.#lease.extend(message.deadline);
        this.#enclosures.extend(message.deadline);
        break;
      case "loads":
        this.#router.loadsChanged(message.loads);
        break;
      case "drain":
        this.#gateway.unshare();
        this.#closed = true;
        this.#stopping = true;
        this.#tellLoad();
        break;
      case "empty":
        this.#host.drain();
        break;
      case "query":
        void this.#answer(message.id, message.query);
        break;
      case "contact":
        this.#contacts.answered(message.id, message.promised);
        break;
      case "relay":
        this.#relays.answered(message.id, message.relayed);
        break;
      case "stop":
      case "exit":
      case "fence":
        // Ending needs waiting, so whoever owns the process calls `stop`, `leave` or `fence`.
        break;
    }
  }

  /**
   * Ends all sessions in order and tells clients. Peers that still send requests here are told to go elsewhere, until `leave`: on a
   * link that had closed already they could not know whether their request had begun.
   */
  async stop(reason: "drain" | "shutdown", limitMs: number): Promise<void> {
    this.#closed = true;
    await this.#host.stopAll(reason, limitMs);
    await this.#gateway.close({ graceMs: GATEWAY_GRACE_MS });
    this.#tell({ type: "stopped" });
  }

  /** The node was evicted: its sessions may live elsewhere by now, so nothing of them runs or is sent any more. */
  async fence(): Promise<void> {
    this.#closed = true;
    this.#host.dropAll(CLOSE_RESTART);
    await this.#close();
  }

  /** The process ends at once, whatever of it is under way. */
  letGo(): void {
    this.#guard.letGo();
  }

  /** After `stop`: lets peers, who read of our leave in their views, have their last answers. */
  async leave(graceMs: number): Promise<void> {
    await this.#listener?.deserted(graceMs);
    await this.#close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#loadTimer);
    this.#memory.close();
    this.#descriptors.close();
    await this.#guard.close();
    await this.#gateway.close({ graceMs: 0 });
    this.#meter.close();
    this.#router.close();
    await this.#links.close();
    await this.#listener?.close();
    this.#host.close();
  }

  get #serves(): Serves {
    const kinds = [...this.#application.kinds.values()].map(({ name, server: { prototype } }) => ({
      kind: name,
      http: prototype.fetch !== undefined,
      sockets: prototype.onConnect !== undefined || prototype.onMessage !== undefined,
    }));
    return { kinds, ownFetch: this.#application.fetch !== undefined };
  }

  #gatewayRouter(application: MeshApplication, shared: SharedSessionHost): GatewayRouter {
    const router = this.#router;
    return {
      kinds: () => [...application.kinds.keys()],
      limitsOf: (kind) => application.kind(kind).options,
      route: (call) => router.route(call),
      connect: (call, client) => router.connect(call, client),
      createName: (kind) => router.createName(kind),
      activate: (id) => router.activate(id),
      eventsServed: () => shared.events,
      accepting: () => !this.#stopping && router.settled,
    };
  }

  async #answer(id: number, query: WorkerQuery): Promise<void> {
    const answer = await answerQuery({ host: this.#host, router: this.#router }, query);
    this.#tell({ type: "answer", id, answer });
  }

  #tellLoad(): void {
    this.#tell({ type: "load", load: this.#meter.read(!this.#accepting), accepting: this.#accepting });
  }

  get #accepting(): boolean {
    return !this.#closed && !this.#full;
  }

  #retire(sinceMs = performance.now()): void {
    this.#closed = true;
    this.#retiringSince ??= sinceMs;
  }

  #lookAtDescriptors(): void {
    if (!this.#descriptors.areLeaked(performance.now()) || this.#closed) return;
    this.#log.error("sessions left files open until no descriptor was left; this worker is replaced");
    // At once: nobody new can connect to it.
    this.#retire(-Infinity);
  }

  #endIfRetiring(): void {
    if (this.#retiringSince === undefined) return;
    if (this.#host.size > 0 && performance.now() - this.#retiringSince < RETIRING_LIMIT_MS) return;
    this.#retiringSince = undefined;
    void this.stop("drain", RETIRING_STOP_MS).finally(() => this.#exit(0));
  }

  /** Not before requests can be answered: whoever comes there has other workers to go to. */
  async #sharePort(): Promise<void> {
    const { sharedPort, bind } = this.#boot.config;
    if (sharedPort === 0 || this.#stopping) return;
    try {
      await this.#gateway.share({ port: sharedPort, bind });
    } catch (error) {
      this.#log.error("clients cannot come through the shared port", { error: MeshError.from(error).message });
    }
  }

  async #tellWhenSettled(): Promise<void> {
    if (this.#settled) return;
    while (!(await this.#router.whenSettled(60_000))) {
      this.#log.warn("still waiting for the other workers to tell what they host");
    }
    if (this.#settled) return;
    this.#settled = true;
    await this.#sharePort();
    this.#tell({ type: "settled" });
  }
}
