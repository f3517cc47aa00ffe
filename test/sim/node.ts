// One node of the simulation: a machine, its primary with the real membership, and its workers, through as many lives as it takes. It does
// what node/primary/{node,life}.ts do: forks workers, joins, passes views and deadlines on, replaces workers, drains, and begins a new
// life after it was fenced.

import type { NodeRecord, NodeRole, RelayedFrame, RelayFrame, View, WorkerLoad, WorkerRecord } from "#proto";
import { startMembership, type Membership } from "../../mesh/membership.ts";
import type { EndReason } from "./host.ts";
import type { RegistryClient } from "./registry.ts";
import type { Simulation } from "./simulation.ts";
import { MachineClock, Process } from "./timeline.ts";
import { SimWorker } from "./worker.ts";

/** A worker listens so long after it was forked. */
const START_MS = { least: 20, most: 200 };
const EXIT_GRACE_MS = 1_000;
const LINK_GRACE_MS = 1_000;
const STOP_LIMIT_MS = 3_000;
/** Sessions of a draining node that nobody ends. */
const DRAIN_LIMIT_MS = 3_000;
/** Workers outlive their primary by a moment. */
const ORPHAN_MS = 150;
/** What restarts a process that has ended. */
const SUPERVISOR_MS = 1_000;

export class SimNode {
  readonly sim: Simulation;
  readonly id: string;
  readonly role: NodeRole;
  readonly machine: { readonly startMs: number; readonly rate: number };
  readonly #workerCount: number;
  primary: Process;
  clock: MachineClock;
  client: RegistryClient;
  membership: Membership | undefined;
  incarnation = "";
  workers: SimWorker[] = [];
  /** Workers whose primary has died. */
  readonly #orphans: SimWorker[] = [];
  /** Rises with each life, so that what a former one started does nothing. */
  #life = 0;
  #forks = 0;
  #port = 0;
  #deadline = Number.NEGATIVE_INFINITY;
  draining = false;
  /** It goes by its own will. */
  leaving = false;
  /** Its life is over, and it knows. */
  fencing = false;
  /** Not running, and nobody will start it. */
  down = true;

  constructor(sim: Simulation, id: string, role: NodeRole, workers: number) {
    this.sim = sim;
    this.id = id;
    this.role = role;
    this.#workerCount = workers;
    this.machine = { startMs: sim.random.next() * 1e6, rate: 1 + (sim.random.next() - 0.5) * 2 * sim.clockDrift };
    this.primary = new Process(id);
    this.clock = new MachineClock(sim.timeline, this.primary, this.machine);
    this.client = sim.registry.open(this.primary);
  }

  get running(): boolean {
    return !this.down && this.primary.alive;
  }

  // ---- the life of a node ----

  start(): void {
    this.down = false;
    this.draining = false;
    this.leaving = false;
    const { sim, id } = this;
    sim.network.dark.delete(id);
    this.client.drop();
    this.primary = new Process(id);
    this.clock = new MachineClock(sim.timeline, this.primary, this.machine);
    this.client = sim.registry.open(this.primary);
    sim.applyClientFaults(this);
    this.#port = sim.nextPort();
    sim.network.addPrimary(this.#port, id, this.primary);
    this.#beginLife();
  }

  #beginLife(): void {
    const life = ++this.#life;
    this.incarnation = `${this.id}i${life}`;
    this.fencing = false;
    this.#deadline = Number.NEGATIVE_INFINITY;
    this.membership = undefined;
    this.workers = [];
    for (let index = 0; index < this.#workerCount; index++) this.#fork(index);
  }

  #fork(index: number): void {
    const { timeline, random } = this.sim;
    const life = this.#life;
    const worker = new SimWorker(this, index, `w${++this.#forks}`);
    this.workers[index] = worker;
    timeline.after(random.between(START_MS.least, START_MS.most), this.primary, () => {
      if (life !== this.#life || !worker.process.alive) return;
      worker.listening = true;
      this.#workerListens(worker);
    });
  }

  #workerListens(worker: SimWorker): void {
    if (this.membership === undefined) {
      if (this.workers.length === this.#workerCount && this.workers.every((one) => one.listening)) this.#join();
      return;
    }
    worker.hear({ type: "deadline", deadline: this.#deadline });
    if (this.draining) worker.hear({ type: "drain" });
    this.#publishWorkers();
    worker.hear({ type: "view", view: this.membership.view });
  }

  #join(): void {
    const { sim, id, incarnation } = this;
    const life = this.#life;
    const current = (): boolean => life === this.#life;
    const membership = startMembership({
      kv: this.client,
      self: this.#record(),
      timings: sim.timings,
      foundHoldMs: sim.foundHoldMs,
      clock: this.clock,
      draw: sim.random.next,
      date: () => sim.timeline.now + this.machine.startMs / 1e4,
      log: (_level, message) => sim.checker.logged(this, message),
      peers: {
        follow: (address, onEnd) => sim.network.follow(this.primary, id, address, onEnd),
        probe: (address) => sim.network.probe(this.primary, id, address),
        ask: async (node, timeoutMs) => {
          const about = { node: id, incarnation };
          return (await this.#byLink((worker) => worker.router.askContact(node.id, about, timeoutMs))) ?? "unknown";
        },
        relay: (node, ask, timeoutMs) => this.#byLink((worker) => worker.router.askRelay(node.id, ask, timeoutMs)),
      },
      load: () => this.#loads(),
      events: {
        onView: (view) => this.#broadcastView(view),
        onDeadline: (deadline) => {
          this.#deadline = deadline;
          for (const worker of this.workers) worker.hear({ type: "deadline", deadline });
        },
        onFenced: () => {
          if (current()) this.#fence();
        },
        onLoads: (loads) => {
          if (sim.random.chance(0.1)) for (const worker of this.workers) worker.hear({ type: "loads", loads });
        },
      },
    });
    this.membership = membership;
    sim.checker.joining(this);
    membership.join(this.#records()).then(
      () => sim.checker.joined(),
      () => {
        // The process ends, and whatever supervises it starts it again.
        if (current() && this.running) this.#exit(SUPERVISOR_MS);
      },
    );
  }

  refresh(epoch: number): void {
    this.membership?.refresh(epoch).catch(() => {});
  }

  answerContact(nodeId: string, incarnation: string): boolean {
    return this.membership?.answerContact(nodeId, incarnation) ?? false;
  }

  async answerRelay(nodeId: string, ask: RelayFrame): Promise<RelayedFrame> {
    if (this.membership === undefined) return new Promise(() => {});
    return this.membership.answerRelay(nodeId, ask);
  }

  // ---- what happens to it ----

  /**
   * Every process of the node ends at once. `silently`: the machine has lost its power, no kernel says so. `addressGoes`: kernels say so, and then
   * the address is nobody's, as a container's.
   */
  kill(silently: boolean, addressGoes = false): void {
    if (this.down) return;
    const { sim } = this;
    this.down = true;
    this.#life++;
    if (silently) sim.network.dark.add(this.id);
    this.client.drop();
    for (const worker of this.workers) this.#bury(worker, silently);
    sim.timeline.kill(this.primary);
    sim.network.died(this.primary, silently);
    if (addressGoes) sim.network.dark.add(this.id);
  }

  /** Its workers notice that it is gone and end, each in its own time, or when they go on after a stop. `addressGoes`: before them. */
  killPrimary(addressGoes = false): void {
    if (this.down) return;
    const { sim } = this;
    this.down = true;
    this.#life++;
    this.client.drop();
    sim.timeline.kill(this.primary);
    sim.network.died(this.primary, false);
    if (addressGoes) sim.network.dark.add(this.id);
    this.#orphans.push(...this.workers);
    for (const worker of this.workers) {
      // Behind a firewall that refuses in their name nobody can tell that they outlive it: decision 4 has no answer to that.
      const ms = sim.network.refusing.has(this.id) ? 0 : sim.random.between(1, ORPHAN_MS);
      sim.timeline.after(ms, worker.process, () => this.#bury(worker, false));
    }
  }

  killWorker(index: number): void {
    const worker = this.workers[index];
    if (this.down || worker === undefined || !worker.process.alive) return;
    const life = this.#life;
    this.#bury(worker, false);
    const { timeline, random } = this.sim;
    timeline.after(random.between(1, 10), this.primary, () => {
      if (life !== this.#life || this.leaving) return;
      this.#fork(index);
      if (this.membership !== undefined) this.#publishWorkers();
    });
  }

  pause(process: Process): void {
    process.paused = true;
    this.sim.network.stopped(process);
  }

  get processes(): Process[] {
    return [this.primary, ...this.workers.map((worker) => worker.process)];
  }

  /** Whatever of it was stopped goes on, what is left of former lives as well. */
  resume(): void {
    for (const process of this.processes) this.sim.timeline.resume(process);
    for (const { process } of this.#orphans.splice(0)) this.sim.timeline.resume(process);
  }

  /** Drains, leaves and ends. */
  drain(): void {
    if (!this.running || this.draining || this.membership === undefined) return;
    this.draining = true;
    const life = this.#life;
    for (const worker of this.workers) worker.hear({ type: "drain" });
    this.membership.drain().catch(() => {});
    this.clock.timer(DRAIN_LIMIT_MS, () => {
      if (life === this.#life) this.#leave();
    });
  }

  /** Ends in order, as at the end of a run; for the checks of what is left behind. */
  async close(): Promise<void> {
    for (const worker of this.workers) {
      worker.host.endAll("stopped");
      worker.close();
    }
    this.#life++;
    await this.membership?.close();
  }

  #leave(): void {
    this.leaving = true;
    const life = this.#life;
    const busy = new Set(this.workers.filter((worker) => worker.process.alive));
    let left = false;
    const leave = (): void => {
      if (life !== this.#life || left) return;
      left = true;
      // Before others may take over its names.
      for (const worker of busy) this.#bury(worker, false, "killed");
      const goAfter = (ms: number) => () => void this.clock.timer(ms, () => life === this.#life && this.#exit());
      this.membership?.leave().then(goAfter(LINK_GRACE_MS), goAfter(0));
    };
    this.clock.timer(STOP_LIMIT_MS, leave);
    for (const worker of this.workers) {
      worker.ipc(() => {
        worker.host.endAll("drained");
        worker.tell(() => {
          busy.delete(worker);
          if (busy.size === 0) leave();
        });
      });
    }
  }

  #fence(): void {
    const { sim } = this;
    this.fencing = true;
    sim.checker.fenced(this);
    const life = ++this.#life;
    const membership = this.membership;
    for (const worker of this.workers) {
      worker.ipc(() => {
        worker.host.endAll("evicted");
        worker.close();
      });
    }
    this.clock.timer(EXIT_GRACE_MS, () => {
      if (life !== this.#life) return;
      for (const worker of this.workers) this.#bury(worker, false, "evicted");
      void membership?.close().then(() => {
        if (life === this.#life) this.#beginLife();
      });
    });
  }

  /** The node ends by itself; `againMs`: what supervises it starts it again. */
  #exit(againMs?: number): void {
    for (const worker of this.workers) this.#bury(worker, false, "stopped");
    void this.membership?.close();
    this.kill(false);
    if (againMs !== undefined) this.sim.startLater(this, againMs);
  }

  #bury(worker: SimWorker, silently: boolean, reason: EndReason = "lost"): void {
    if (!worker.process.alive) return;
    this.sim.checker.died(worker, reason);
    worker.closed = true;
    // Nothing of it runs any more: only what its promises hold in our memory goes.
    this.sim.timeline.kill(worker.process);
    this.sim.network.died(worker.process, silently);
  }

  // ---- what it says of itself ----

  #publishWorkers(): void {
    this.membership?.setWorkers(this.#records()).catch(() => {});
  }

  #broadcastView(view: View): void {
    this.sim.checker.viewSeen();
    for (const worker of this.workers) worker.hear({ type: "view", view });
  }

  #records(): WorkerRecord[] {
    return this.workers.filter((worker) => worker.listening && worker.process.alive).map((worker) => worker.record);
  }

  #loads(): WorkerLoad[] {
    return this.workers.map((worker) => ({
      index: worker.index,
      sessions: worker.host.servers.size,
      utilisation: 0,
      rssBytes: 0,
      lagMs: 0,
    }));
  }

  /** As it stands in the view once all of its workers listen. */
  get record(): NodeRecord {
    return { ...this.#record(), state: "up", workers: this.workers.map((worker) => worker.record) };
  }

  #record(): Omit<NodeRecord, "workers" | "state"> {
    return {
      id: this.id,
      incarnation: this.incarnation,
      role: this.role,
      machine: this.id,
      zone: "",
      labels: {},
      gateway: "",
      admin: "",
      lifeline: { host: this.id, port: this.#port },
      pid: 1,
    };
  }

  /** Links are the workers': any of them asks. */
  async #byLink<T>(ask: (worker: SimWorker) => Promise<T>): Promise<T | undefined> {
    const live = this.workers.filter((worker) => worker.process.alive && worker.listening);
    if (live.length === 0) return undefined;
    const worker = this.sim.random.pick(live);
    return new Promise((resolve) => {
      worker.ipc(() => void ask(worker).then((answer) => worker.tell(() => resolve(answer))));
    });
  }
}
