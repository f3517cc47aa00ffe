// A mesh of routers in one process: real routers and directories, with links that are function calls with a random delay, hosts that are maps,
// and views that reach each worker when the test says so. Time is vitest's.

import {
  MeshError,
  workerIdOf,
  type AskFrame,
  type Fence,
  type Member,
  type SessionId,
  type View,
  type WorkerId,
} from "#proto";
import {
  Router,
  SessionCall,
  type CallOutcome,
  type Links,
  type Served,
  type SessionHost,
  type SessionReply,
} from "#mesh";
import type { PlacementWish } from "#placement";
import { parseSessionKey } from "#proto";

export interface Activation {
  readonly key: string;
  readonly worker: WorkerId;
  readonly fence: Fence;
}

export class RouterMesh {
  readonly workers = new Map<WorkerId, MeshWorker>();
  /** Every activation, in the order of true time. */
  readonly activations: Activation[] = [];
  /** Moments at which one session had two servers. Must stay empty. */
  readonly doubles: string[] = [];
  readonly random: () => number;
  delayMs = 5;
  /** Their addresses answer nothing: who connects waits until its view lacks them. */
  readonly dark = new Set<WorkerId>();

  constructor(random: () => number) {
    this.random = random;
  }

  start(node: string, index: number, incarnation: string, wish?: PlacementWish): MeshWorker {
    const worker = new MeshWorker(this, workerIdOf(node, { index, incarnation }), wish);
    this.workers.set(worker.id, worker);
    return worker;
  }

  /** The process is gone, with all that it hosted. */
  kill(id: WorkerId): string[] {
    const worker = this.workers.get(id);
    this.workers.delete(id);
    worker?.router.close();
    return [...(worker?.hosted.keys() ?? [])];
  }

  deliver(view: View, to: Iterable<WorkerId> = this.workers.keys()): void {
    for (const id of to) this.workers.get(id)?.router.viewChanged(view);
  }

  noteActivation(activation: Activation): void {
    const elsewhere = [...this.workers.values()].find((worker) => worker.hosted.has(activation.key));
    if (elsewhere !== undefined) this.doubles.push(`${activation.key} on ${elsewhere.id} and ${activation.worker}`);
    this.activations.push(activation);
  }

  delay(): Promise<void> {
    const ms = Math.floor(this.random() * this.delayMs);
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}

export class MeshWorker {
  readonly id: WorkerId;
  readonly router: Router;
  readonly hosted = new Map<string, { id: SessionId; fence: Fence; requests: number }>();
  accepting = true;
  /** What `activate` throws instead of starting anything. */
  refusal: MeshError | undefined;
  hops = 0;
  /** What this worker answers a node that asks whether ours has contact. */
  contact: () => Promise<boolean> = async () => false;
  /** Latest view that the "primary" has for a worker that asks. */
  latest: View | undefined;

  constructor(mesh: RouterMesh, id: WorkerId, wish: PlacementWish = { policy: "owner-first", labels: {} }) {
    this.id = id;
    const host: SessionHost = {
      has: (key) => this.hosted.has(key),
      activate: (session, fence) => {
        // The process is dead; only its promises in our memory go on.
        if (!mesh.workers.has(id)) throw new MeshError("internal", "dead");
        if (this.refusal !== undefined) throw this.refusal;
        mesh.noteActivation({ key: session.key, worker: id, fence });
        this.hosted.set(session.key, { id: session, fence, requests: 0 });
      },
      fetch: (call) => {
        const session = this.hosted.get(call.id.key);
        if (session === undefined) throw new MeshError("internal", "fetch of a session that is not here");
        return replyWith(`${++session.requests}@${id}`);
      },
      connect: () => ({ status: "refused", error: new MeshError("bad_upgrade", "no sockets in this test") }),
      sessions: () => this.hosted.values(),
      refusalOf: ({ kind, key }, upgrade) => {
        if (kind !== "deaf") return undefined;
        return new MeshError(upgrade ? "bad_upgrade" : "not_found", `nobody answers for ${key}`);
      },
      wishOf: () => wish,
    };
    this.router = new Router({
      self: id,
      host,
      links: this.#links(mesh),
      lease: { isOpen: () => true, whenOpen: async () => {} },
      refreshView: (epoch) => {
        if (this.latest !== undefined && this.latest.epoch >= epoch) this.router.viewChanged(this.latest);
      },
      accepting: () => this.accepting,
      answerContact: () => this.contact(),
      draw: mesh.random,
    });
  }

  end(key: string): void {
    const session = this.hosted.get(key);
    if (session === undefined) return;
    this.hosted.delete(key);
    this.router.ended(session.id, session.fence);
  }

  request(key: string, options: { onlyIfActive?: boolean } = {}): Promise<string> {
    return this.send(callOf(key, options));
  }

  async send(call: SessionCall): Promise<string> {
    return String((await this.router.route(call)).body);
  }

  #links(mesh: RouterMesh): Links {
    const connecting = new Map<WorkerId, PromiseWithResolvers<void>>();
    const reach = async <T>(to: Member, use: (peer: MeshWorker) => Promise<T>): Promise<T> => {
      await mesh.delay();
      if (mesh.dark.has(to.id)) {
        const waiting = connecting.get(to.id) ?? Promise.withResolvers<void>();
        connecting.set(to.id, waiting);
        await waiting.promise;
      }
      const peer = mesh.workers.get(to.id);
      if (peer === undefined || !(await peer.router.service.admit(this.id, this.router.epoch))) {
        throw new MeshError("session_lost", `${to.id} cannot be reached`);
      }
      const result = await use(peer);
      await mesh.delay();
      return result;
    };
    return {
      call: async (to, call, options): Promise<CallOutcome<SessionReply>> => {
        this.hops++;
        let started = false;
        try {
          return await reach(to, async (peer): Promise<Served<SessionReply>> => {
            started = true;
            return peer.router.service.call(this.id, call, options);
          });
        } catch (error) {
          return { status: started ? "failed" : "unreached", error: MeshError.from(error) };
        }
      },
      connect: async () => ({ status: "failed", error: new MeshError("bad_upgrade", "no sockets in this test") }),
      ask: (to, question: AskFrame) => reach(to, async (peer) => peer.router.service.ask(this.id, question)),
      retain: (members) => {
        for (const [id, { resolve }] of connecting) if (!members.some((member) => member.id === id)) resolve();
      },
      close: async () => {},
    };
  }
}

export function callOf(key: string, options: { onlyIfActive?: boolean } = {}): SessionCall {
  return new SessionCall({
    id: parseSessionKey(key),
    method: "GET",
    url: `http://mesh/sessions/${key}`,
    headers: [],
    timeoutMs: 30_000,
    ...options,
  });
}

function replyWith(body: string): SessionReply {
  return { status: 200, statusText: "", headers: [], body };
}

/** mulberry32: the same seed, the same run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
