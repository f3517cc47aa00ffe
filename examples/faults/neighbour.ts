// A session that does nothing wrong. It has what others' faults could take from it: state, a timer, requests under way, sockets. And it
// tells whether something was taken.

import { setTimeout as sleep } from "node:timers/promises";
import { SessionServer, type SessionOptions, type SessionSocket } from "sessionmesh";

const TICK_MS = 100;
/** Of what waits until it is told to go on. */
const PAUSE_MS = 10;

export class Neighbour extends SessionServer {
  static readonly options: SessionOptions = { idleMs: Infinity };
  /** Another one: all that the session held was lost in between. */
  readonly #instance = crypto.randomUUID();
  #count = 0;
  #ticks = 0;
  #tickedMs = performance.now();
  /** The longest time without a tick since the last look at it. */
  #gapMs = 0;
  #waiting = 0;
  #go = Promise.withResolvers<void>();

  override onStart(): void {
    atFirst ??= surroundings();
    setInterval(() => {
      this.#ticks++;
      this.#look();
      this.#tickedMs = performance.now();
    }, TICK_MS);
  }

  #look(): void {
    this.#gapMs = Math.max(this.#gapMs, performance.now() - this.#tickedMs);
  }

  /** `/wait/<how>` stays under way until `/go`; `/look` tells what befell the session since the last look; anything else counts. */
  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const [, what, how] = /\/(wait|go|look)(?:\/(\w+))?$/.exec(pathname) ?? [];
    switch (what) {
      case "wait":
        return this.#wait(how ?? "");
      case "go":
        this.#go.resolve();
        this.#go = Promise.withResolvers();
        return Response.json({});
      case "look": {
        this.#look();
        const stalledMs = Math.max(0, Math.round(this.#gapMs - TICK_MS));
        this.#gapMs = 0;
        const sinceTickMs = performance.now() - this.#tickedMs;
        return Response.json({ ...this.#state(), stalledMs, sinceTickMs, changed: changes() });
      }
      default:
        this.#count++;
        return Response.json(this.#state());
    }
  }

  #state(): object {
    return {
      count: this.#count,
      ticks: this.#ticks,
      instance: this.#instance,
      waiting: this.#waiting,
      pid: process.pid,
    };
  }

  async #wait(how: string): Promise<Response> {
    this.#waiting++;
    const go = { now: false };
    const told = this.#go.promise.then(() => (go.now = true));
    if (how === "stream") return new Response(this.#chunksUntil(go));
    if (how === "timers") while (!go.now) await sleep(PAUSE_MS);
    if (how === "immediates") {
      while (!go.now) {
        for (let hop = 0; hop < 10; hop++) await new Promise(setImmediate);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
    if (how === "stub") {
      const peer = this.ctx.mesh.session("neighbour", `${this.ctx.id.name}-peer`);
      const [answer] = await Promise.all([peer.fetch("/wait/timers"), told.then(() => peer.fetch("/go"))]);
      await answer.text();
    }
    await told;
    this.#waiting--;
    return Response.json(this.#state());
  }

  #chunksUntil(go: { readonly now: boolean }): ReadableStream<Uint8Array> {
    const chunk = new TextEncoder().encode("x");
    return new ReadableStream({
      pull: async (controller) => {
        await sleep(PAUSE_MS);
        controller.enqueue(chunk);
        if (!go.now) return;
        this.#waiting--;
        controller.close();
      },
    });
  }

  override async onMessage(socket: SessionSocket, message: string | Uint8Array): Promise<void> {
    await sleep(5);
    socket.send(message);
  }
}

const { cwd, stdout, stderr } = process;
/** As the first neighbour of the process found them. */
let atFirst: Readonly<Record<string, unknown>> | undefined;

/** What all sessions of a process share, as one of them sees it. */
function surroundings(): Readonly<Record<string, unknown>> {
  return {
    cwd: cwd(),
    umask: process.umask(),
    stdout: stdout.writable,
    stderr: stderr.writable,
    uncaughtException: process.listenerCount("uncaughtException"),
    unhandledRejection: process.listenerCount("unhandledRejection"),
    message: process.listenerCount("message"),
    exit: process.exit,
    write: stderr.write,
    emit: process.emit,
    prepareStackTrace: Error.prepareStackTrace,
    setTimeout: globalThis.setTimeout,
    Map: globalThis.Map,
    Promise: globalThis.Promise,
    Reflect: globalThis.Reflect,
    await: Promise.prototype.then,
    map: Array.prototype.map,
    last: Reflect.get(Array.prototype, "last"),
    log: console.log,
  };
}

function changes(): string[] {
  const now = surroundings();
  const before = (atFirst ??= now);
  return Object.keys(now).filter((name) => now[name] !== before[name]);
}
