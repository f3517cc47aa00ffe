// The application of the fault tests: sessions that go wrong in every way on demand, and neighbours that must not notice.

import { pbkdf2Sync } from "node:crypto";
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { defineMesh, SessionServer, type SessionContext, type SessionOptions, type SessionSocket } from "sessionmesh";

const FOR_EVER: SessionOptions = { idleMs: Infinity };

function spin(): never {
  for (;;);
}

/** Each never comes back, or leaves something behind that goes wrong. */
const faults: Record<string, () => unknown> = {
  spin,
  catch: () => {
    for (;;) {
      try {
        spin();
      } catch {
        spin();
      }
    }
  },
  finally: () => {
    try {
      spin();
    } finally {
      spin();
    }
  },
  getter: () =>
    ({
      get it(): never {
        return spin();
      },
    }).it,
  "timer-spin": () => later(setTimeout),
  "immediate-spin": () => later(setImmediate),
  "after-await": async () => {
    await Promise.resolve();
    spin();
  },
  "after-timer": async () => {
    await sleep(1);
    spin();
  },
  "after-fetch": async () => {
    await (await fetch("data:text/plain,x")).text();
    spin();
  },
  microtasks: async () => {
    for (;;) await Promise.resolve();
  },
  nexttick: () => {
    const again = (): void => process.nextTick(again);
    again();
    return later(setTimeout);
  },
  regex: () => /^(a+)+$/.test(`${"a".repeat(40)}b`),
  sort: () => {
    const numbers = Array.from({ length: 1_000_000 }, Math.random);
    for (;;) numbers.sort((a, b) => Math.sin(a) - Math.sin(b));
  },
  json: () => {
    const value = Array.from({ length: 10_000 }, (_, at) => ({ at, text: "text" }));
    for (;;) JSON.parse(JSON.stringify(value));
  },
  "json-reviver": () => JSON.parse("[1]", () => spin()),
  objects: () => {
    const all: object[] = [];
    for (;;) all.push({ at: all.length });
  },
  strings: () => {
    const all: string[] = [];
    for (;;) all.push("text".repeat(1_000) + all.length);
  },
  buffers: () => {
    const all: Buffer[] = [];
    for (;;) all.push(Buffer.alloc(1_000_000, 1));
  },
  maps: () => {
    const all = new Map<number, object>();
    for (;;) all.set(all.size, {});
  },
  arrays: () => {
    const all: number[][] = [];
    for (;;) all.push(Array.from({ length: 10_000 }, (_, at) => at));
  },
  /** Nothing in it ever looks whether it is to stop. */
  native: () => pbkdf2Sync("password", "salt", 2_000_000_000, 64, "sha512"),
  stack: () => {
    const deeper = (): number => deeper() + 1;
    return deeper();
  },
  throw: () => {
    throw new Error("told to");
  },
  "throw-null": () => throwing(null),
  "throw-undefined": () => throwing(undefined),
  "throw-frozen": () => throwing(Object.freeze(new Error("frozen"))),
  "throw-nasty": () =>
    throwing({
      get stack(): string {
        throw new Error("no stack for you");
      },
      get message(): string {
        throw new Error("no message for you");
      },
    }),
  reject: () => Promise.reject(new Error("told to")),
  "stray-rejection": () => {
    void Promise.reject(new Error("nobody waits"));
    return never();
  },
  "emitter-error": () => {
    setTimeout(() => new EventEmitter().emit("error", new Error("nobody listens")), 1);
    return never();
  },
  "timer-throw": () => {
    setTimeout(thrower, 1);
    return never();
  },
  "tick-throw": () => {
    process.nextTick(thrower);
    return never();
  },
  "microtask-throw": () => {
    queueMicrotask(thrower);
    return never();
  },
  "immediate-throw": () => {
    setImmediate(thrower);
    return never();
  },
  "body-spin": () =>
    new Response(
      new ReadableStream(
        {
          pull() {
            spin();
          },
        },
        // Nothing is pulled before the head of the response is sent.
        { highWaterMark: 0 },
      ),
    ),
};

function thrower(): never {
  throw new Error("told to");
}

function throwing(value: unknown): never {
  throw value;
}

function later(when: (fn: () => void) => unknown): Promise<never> {
  when(spin);
  return never();
}

function never(): Promise<never> {
  return new Promise(() => {});
}

class Faulty extends SessionServer {
  static readonly options: SessionOptions = FOR_EVER;
  constructor(ctx: SessionContext) {
    super(ctx);
    if (this.ctx.id.name.startsWith("bad-constructor")) spin();
  }

  override onStart(): void {
    if (this.ctx.id.name.startsWith("bad-start")) spin();
  }

  override async fetch(request: Request): Promise<Response> {
    const kind = new URL(request.url).searchParams.get("fault");
    if (kind === null) return Response.json({ alive: true, pid: process.pid });
    const result = await faults[kind]?.();
    return result instanceof Response ? result : Response.json({ survived: kind });
  }

  override onConnect(): void {}

  override onMessage(_socket: SessionSocket, message: string | Uint8Array): void {
    faults[String(message)]?.();
  }
}

/** The same, entered without a promise. */
class Abrupt extends Faulty {
  override fetch(request: Request): never {
    faults[new URL(request.url).searchParams.get("fault") ?? ""]?.();
    throw new Error("survived");
  }
}

/** Holds state, has timers and awaits, and answers in many ways. */
class Neighbour extends SessionServer {
  static readonly options: SessionOptions = FOR_EVER;
  readonly instance = crypto.randomUUID();
  #count = 0;
  #ticks = 0;

  override onStart(): void {
    setInterval(() => this.#ticks++, 100);
  }

  override async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url);
    this.#count++;
    switch (searchParams.get("how")) {
      case "sleep":
        await sleep(Number(searchParams.get("ms")));
        break;
      case "timeout":
        await new Promise((resolve) => setTimeout(resolve, Number(searchParams.get("ms"))));
        break;
      case "hops":
        for (let hop = 0; hop < 50; hop++) await new Promise(setImmediate);
        break;
      case "stub":
        await this.ctx.mesh
          .session("neighbour", `${this.ctx.id.name}-peer`)
          .fetch(`/?how=sleep&ms=${searchParams.get("ms")}`);
        break;
      case "stream":
        return new Response(this.#slowly(Number(searchParams.get("ms"))));
      default:
    }
    return Response.json({ count: this.#count, ticks: this.#ticks, instance: this.instance, pid: process.pid });
  }

  #slowly(ms: number): ReadableStream<Uint8Array> {
    let left = 10;
    return new ReadableStream({
      async pull(controller) {
        await sleep(ms / 10);
        controller.enqueue(new TextEncoder().encode("x"));
        if (--left === 0) controller.close();
      },
    });
  }

  override onConnect(): void {}

  override async onMessage(socket: SessionSocket, message: string | Uint8Array): Promise<void> {
    await sleep(5);
    socket.send(message);
  }
}

export default defineMesh({ sessions: { faulty: Faulty, abrupt: Abrupt, neighbour: Neighbour } });
