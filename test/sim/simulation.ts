// One run: builds the mesh, does to it what the schedule says, ends all faults, waits, and then asks for every name from everywhere. The
// same schedule gives the same run. Synchronous: MUST be called from a task, not from a promise (see timeline.ts).

import { ownerSlot, ownerTable, partitionOf } from "#placement";
import { canOwn, decodeView, emptyView, membersOf } from "#proto";
import type { LeaseTimings } from "../../mesh/silence.ts";
import { Checker, type Counts, type Violation } from "./checker.ts";
import { Clients } from "./client.ts";
import { Network, type NetworkCounts } from "./network.ts";
import { SimNode } from "./node.ts";
import { Random } from "./random.ts";
import { Registry } from "./registry.ts";
import { FIRST_FAULT_MS, type Fault, type Schedule } from "./schedule.ts";
import { Store } from "./store.ts";
import { Timeline } from "./timeline.ts";
import type { SimWorker } from "./worker.ts";

/** As in production, but for the cap: longer than any election, and short enough for the calm at the end. */
export const timings: LeaseTimings = { heartbeatMs: 500, suspendMs: 2_000, evictMs: 3_000, outageCapMs: 12_000 };

/** After the last fault: a silence of more than half of the view is waited for a third of it, and so is one of a node that starts again. */
const CALM_MAX_MS = 3 * (timings.outageCapMs + timings.evictMs);
/** How often one looks whether all agree. */
const LOOK_MS = 500;
/** For a request in the calm: one that finds everything in place takes some ten milliseconds. */
const ANSWER_MS = 5_000;
/** After the end: what is under way in the network and the registry has come to rest. */
const REST_MS = 12_000;

export interface Outcome {
  readonly steps: number;
  readonly violation: Violation | undefined;
  /** What the registry forgot: a known limit, at which the run ended. */
  readonly cutShort: string | undefined;
  readonly counts: Counts;
  readonly network: NetworkCounts;
  readonly refusals: number;
  readonly codes: ReadonlyMap<string, number>;
}

export class Simulation {
  readonly timeline = new Timeline();
  readonly timings = timings;
  readonly random: Random;
  readonly network: Network;
  readonly registry: Registry;
  readonly store: Store;
  readonly checker: Checker;
  readonly clients: Clients;
  readonly nodes: SimNode[] = [];
  readonly clockDrift: number;
  handlerMs = 60;
  readonly #schedule: Schedule;
  #ports = 1_000;
  /** Nodes that will start again. */
  #starts = 0;

  constructor(schedule: Schedule, trace?: (line: string) => void) {
    this.#schedule = schedule;
    this.clockDrift = schedule.clockDrift;
    this.random = new Random(schedule.seed);
    this.checker = new Checker(this.timeline);
    if (trace !== undefined)
      this.checker.trace = (line) => trace(`${this.timeline.now.toFixed(1).padStart(9)} ${line}`);
    this.network = new Network(this.timeline, this.random.fork());
    this.network.trace = this.checker.trace;
    this.registry = new Registry(this.timeline, this.random.fork(), this.checker);
    this.store = new Store(this.timeline, this.random.fork(), this.checker);
    this.clients = new Clients(this, schedule.names);
    const { theme } = schedule;
    this.checker.strictness = {
      keepsLeases: theme === "outages" || theme === "changes",
      keepsSessions: theme === "outages" || theme === "changes",
      keepsMesh: theme === "outages" || theme === "forgetting",
    };
    for (let at = 0; at < schedule.nodesMax; at++) {
      // One of the later ones takes clients only.
      this.nodes.push(new SimNode(this, `n${at}`, at === 5 ? "gateway" : "host", schedule.workers));
    }
  }

  start(): void {
    for (const node of this.nodes.slice(0, this.#schedule.nodes)) node.start();
  }

  run(): Outcome {
    const { timeline, checker } = this;
    const { faults, calmMs, requestMs } = this.#schedule;
    this.start();
    for (const fault of faults) {
      timeline.after(fault.atMs, undefined, () => {
        checker.trace?.(`--- ${JSON.stringify(fault)}`);
        this.#apply(fault);
      });
    }
    this.clients.keepAsking(requestMs, calmMs);
    timeline.run(calmMs, checker.afterStep);
    if (checker.violation === undefined && checker.cutShort === undefined) this.#calm();
    return {
      cutShort: checker.cutShort,
      steps: timeline.steps,
      violation: checker.violation,
      counts: checker.counts,
      network: this.network.counts,
      refusals: this.store.refusals,
      codes: this.clients.failures,
    };
  }

  /** The registry is known to be new while the first nodes start. */
  get foundHoldMs(): number {
    return this.timeline.now < FIRST_FAULT_MS ? 0 : timings.evictMs;
  }

  nextPort(): number {
    return ++this.#ports;
  }

  /** A worker that takes clients now. */
  anyGateway(): SimWorker | undefined {
    const workers = this.#gateways();
    return workers.length === 0 ? undefined : this.random.pick(workers);
  }

  /** A new connection of a node finds the faults of its machine. */
  applyClientFaults(node: SimNode): void {
    node.client.cut = this.#cut.has(node.id);
  }

  readonly #cut = new Set<string>();

  #gateways(): SimWorker[] {
    return this.nodes.flatMap((node) =>
      node.running ? node.workers.filter((worker) => worker.process.alive && worker.listening && !worker.closed) : [],
    );
  }

  // ---- faults ----

  #node(at: number): SimNode {
    const node = this.nodes[at % this.nodes.length];
    if (node === undefined) throw new Error("a simulation without nodes");
    return node;
  }

  #apply(fault: Fault): void {
    const { network, registry, timeline, random } = this;
    switch (fault.kind) {
      case "kill": {
        const node = this.#node(fault.node);
        if (!node.running) return;
        node.kill(fault.silently, fault.addressGoes);
        return this.startLater(node, fault.ms);
      }
      case "kill_primary": {
        const node = this.#node(fault.node);
        if (!node.running) return;
        node.killPrimary(fault.addressGoes);
        return this.startLater(node, fault.ms);
      }
      case "kill_worker":
        return this.#node(fault.node).killWorker(fault.worker);
      case "pause": {
        const node = this.#node(fault.node);
        const of = { primary: [node.primary], worker: node.processes.slice(1, 2), all: node.processes }[fault.what];
        for (const process of of) if (process.alive) node.pause(process);
        timeline.after(fault.ms, undefined, () => {
          for (const process of of) timeline.resume(process);
        });
        return;
      }
      case "part": {
        const [a, b] = [this.#node(fault.from).id, this.#node(fault.node).id];
        if (a === b) return;
        network.block(a, b);
        if (!fault.oneWay) network.block(b, a);
        return;
      }
      case "isolate": {
        const { id } = this.#node(fault.node);
        for (const other of this.nodes) {
          if (other.id === id) continue;
          network.block(id, other.id);
          network.block(other.id, id);
        }
        return;
      }
      case "strand": {
        const pair = [this.#node(fault.node), this.#node(fault.with)];
        for (const node of pair) {
          this.#cut.add(node.id);
          node.client.cut = true;
          for (const other of this.nodes) {
            if (pair.includes(other)) continue;
            network.block(node.id, other.id);
            network.block(other.id, node.id);
          }
        }
        return;
      }
      case "slow_registry":
        for (const [at, { client }] of this.nodes.entries()) {
          if (fault.node === undefined || fault.node % this.nodes.length === at) client.slowMs = fault.ms;
        }
        return;
      case "firewall":
        return void network.refusing.add(this.#node(fault.node).id);
      case "heal":
        network.slowMs = 0;
        return network.openAll();
      case "slow":
        network.slowMs = fault.ms;
        return;
      case "cut": {
        const node = this.#node(fault.node);
        this.#cut.add(node.id);
        node.client.cut = true;
        return;
      }
      case "cut_all":
        for (const node of this.nodes) {
          this.#cut.add(node.id);
          node.client.cut = true;
        }
        return;
      case "mend":
        for (const [at, node] of this.nodes.entries()) {
          if (fault.node !== undefined && fault.node % this.nodes.length !== at) continue;
          this.#cut.delete(node.id);
          node.client.cut = false;
        }
        return;
      case "blind":
        this.#node(fault.node).client.blind = true;
        return;
      case "lossy": {
        const { client } = this.#node(fault.node);
        client.requestLoss = fault.requests;
        client.answerLoss = fault.answers;
        return;
      }
      case "late": {
        const { client } = this.#node(fault.node);
        client.lateness = fault.writes;
        client.watchDelayMs = fault.watchMs;
        return;
      }
      case "sound":
        return this.#sound();
      case "fail_over":
        return registry.failOver(fault.ms);
      case "restart":
        return registry.restart(fault.ms);
      case "wipe":
        return registry.restart(fault.ms, () => {
          registry.wipe();
          this.checker.forgets(registry.entries.values());
        });
      case "rewind":
        return registry.restart(fault.ms, () => {
          registry.rewind(fault.backMs);
          this.checker.forgets(registry.entries.values());
        });
      case "join": {
        const node = this.#node(fault.node);
        if (node.down) node.start();
        return;
      }
      case "drain": {
        const node = this.#node(fault.node);
        node.drain();
        return this.startLater(node, fault.ms + 8_000);
      }
      case "end_sessions": {
        const workers = this.#node(fault.node).workers.filter(
          (worker) => worker.process.alive && !worker.process.paused,
        );
        for (const worker of workers) {
          if (!worker.lease.isOpen()) continue;
          for (const key of [...worker.host.servers.keys()].slice(0, fault.count)) {
            worker.host.end(key, fault.crash ? "killed" : random.chance(0.5) ? "stopped" : "moved");
          }
        }
        return;
      }
      case "slow_store":
        this.store.slowMs = fault.ms;
        return;
    }
  }

  startLater(node: SimNode, ms: number): void {
    this.#starts++;
    this.timeline.after(ms, undefined, () => {
      this.#starts--;
      if (node.down) node.start();
    });
  }

  #sound(): void {
    for (const { client } of this.nodes) {
      client.blind = false;
      client.requestLoss = 0;
      client.answerLoss = 0;
      client.lateness = 0;
      client.watchDelayMs = 0;
      client.slowMs = 4;
    }
  }

  // ---- the calm ----

  #calm(): void {
    const { timeline, checker, network, registry } = this;
    registry.down = false;
    this.#cut.clear();
    for (const node of this.nodes) node.client.cut = false;
    this.#sound();
    this.store.slowMs = 5;
    network.slowMs = 0;
    network.openAll();
    for (const node of this.nodes) node.resume();
    checker.trace?.("--- calm");
    const until = timeline.now + CALM_MAX_MS;
    do this.#pass(LOOK_MS);
    while (!checker.afterStep() && timeline.now < until && this.unsettled() !== undefined);
    if (checker.cutShort !== undefined) return;
    const unsettled = this.unsettled();
    if (unsettled !== undefined) checker.fail(6, unsettled);
    checker.checkReasons();
    this.#askEverywhere("first");
    const moved = network.counts.moved;
    checker.trace?.("--- again");
    this.#askEverywhere("again");
    if (network.counts.moved > moved) checker.fail(6, "a request that had a route already was sent on");
    this.#checkDirectory();
    const overdue = this.clients.overdue();
    if (overdue !== undefined) checker.fail(0, `request ${overdue} was never answered`);
    if (checker.violation === undefined) this.#end();
  }

  #pass(ms: number): void {
    this.timeline.run(this.timeline.now + ms, this.checker.afterStep);
  }

  /** Why the mesh is not in order yet: all who run are in the view, act, and see the same; nobody else is in it. */
  unsettled(): string | undefined {
    const { registry } = this;
    if (this.#starts > 0) return "a node has not started again yet";
    if (this.clients.underWay) return "requests from before the calm have no answer yet";
    const entry = registry.entries.get("view");
    const stored = entry === undefined ? undefined : decodeView(entry.value);
    const running = this.nodes.filter((node) => node.running).map((node) => node.incarnation);
    const listed = stored?.nodes.map((node) => node.incarnation) ?? [];
    if (running.sort().join() !== listed.sort().join()) {
      return `${running.join(" ")} run in the calm, and the view has ${listed.join(" ")}`;
    }
    for (const node of this.nodes) {
      if (!node.running) continue;
      if (node.membership?.suspended !== false) return `${node.incarnation} is suspended in the calm`;
      for (const worker of node.workers) {
        if (worker.router.epoch !== stored?.epoch) {
          return `${worker.id} has view ${worker.router.epoch}, not ${stored?.epoch}`;
        }
        if (node.role === "host" && !worker.router.settled) return `${worker.id} has partitions that are not open`;
      }
    }
    return undefined;
  }

  #askEverywhere(which: string): void {
    const { checker, clients, timeline } = this;
    if (checker.violation !== undefined || !this.nodes.some((node) => node.running && node.role === "host")) return;
    const expected = this.#gateways().length * clients.names.length;
    let answered = 0;
    const failed: string[] = [];
    for (const worker of this.#gateways()) {
      for (const id of clients.names) {
        void clients.request(worker, id, false).then((result) => {
          answered++;
          if (result !== "ok") failed.push(`${id.key} from ${worker.id}: ${result}`);
        });
      }
    }
    const until = timeline.now + ANSWER_MS;
    timeline.run(until, () => checker.afterStep() || answered === expected);
    if (checker.violation !== undefined) return;
    if (answered < expected) checker.fail(6, `${expected - answered} requests of the ${which} round have no answer`);
    if (failed.length > 0) checker.fail(6, `in the ${which} round ${failed.length} failed: ${failed[0]}`);
    for (const id of clients.names) {
      const hosts = checker.hostsOf(id.key);
      if (hosts.length !== 1) checker.fail(6, `${id.key} has ${hosts.length} servers in the calm`);
    }
  }

  /** The owners' indexes hold what others host, and nothing else. */
  #checkDirectory(): void {
    const { checker, clients } = this;
    if (checker.violation !== undefined) return;
    const workers = this.#gateways().filter((worker) => worker.node.role === "host");
    const owning = membersOf(workers[0]?.router.view ?? emptyView).filter(canOwn);
    const owners = ownerTable(owning.map((member) => member.slot));
    const indexed = workers.reduce((sum, worker) => sum + worker.router.directoryEntries, 0);
    const away = clients.names.filter((id) => {
      const [host] = checker.hostsOf(id.key);
      return host !== undefined && ownerSlot(owners, partitionOf(id.key)) !== `${host.node.id}/${host.index}`;
    }).length;
    if (indexed !== away) checker.fail(11, `${indexed} entries in the directory for ${away} sessions that need one`);
  }

  /** Everything closes; then nothing may wait for anything any more. */
  #end(): void {
    const { timeline, checker } = this;
    const processes = this.nodes.flatMap((node) => (node.running ? node.processes : []));
    for (const node of this.nodes) if (node.running) void node.close();
    this.#pass(REST_MS);
    for (const process of processes) {
      const left = timeline.pendingOf(process);
      if (left > 0) checker.fail(11, `${process.name} has ${left} timers left after its end`);
    }
  }
}
