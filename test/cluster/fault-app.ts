// The application of the fault tests: sessions that go wrong in every way on demand, and neighbours that must not notice.

import cluster from "node:cluster";
import { pbkdf2Sync } from "node:crypto";
import { EventEmitter } from "node:events";
import nodeProcess, { exit as namedExit } from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
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
  ...processTricks(),
  ...edits(),
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

/** What would hit the whole process. */
function processTricks(): Record<string, () => unknown> {
  return {
    exit: () => process.exit(0),
    "named-exit": () => namedExit(0),
    "imported-exit": async () => (await import("node:process")).default.exit(0),
    "builtin-exit": () => process.getBuiltinModule("node:process").exit(0),
    "caught-exit": () => {
      try {
        process.exit(0);
      } catch {
        return Response.json({ survived: "exit" });
      }
    },
    "timer-exit": () => {
      setTimeout(() => process.exit(0), 1);
      return never();
    },
    "listener-exit": () => {
      const emitter = new EventEmitter().once("end", process.exit);
      setImmediate(() => emitter.emit("end"));
      return never();
    },
    "really-exit": () => called("reallyExit", 0),
    abort: () => process.abort(),
    "kill-self": () => process.kill(process.pid),
    "kill-zero": () => process.kill(0, "SIGKILL"),
    "kill-all": () => process.kill(-1, "SIGKILL"),
    "kill-group": () => process.kill(-process.pid, "SIGKILL"),
    "kill-primary": () => nodeProcess.kill(process.ppid, "SIGKILL"),
    "kill-primary-group": () => process.kill(-process.ppid, "SIGKILL"),
    "hidden-kill": () => called("_kill", process.ppid, 9),
    chdir: () => process.chdir("/"),
    umask: () => process.umask(0),
    disconnect: () => called("disconnect"),
    send: () => called("send", { type: "stopped" }),
    "cluster-kill": () => cluster.worker?.kill(),
    "cluster-destroy": () => cluster.worker?.destroy(),
    "cluster-disconnect": () => cluster.worker?.disconnect(),
    "cluster-send": () => cluster.worker?.send({ type: "stopped" }),
    "remove-all": () => process.removeAllListeners(),
    "remove-all-faults": () => process.removeAllListeners("uncaughtException"),
    "remove-fault-listener": () => {
      for (const listener of process.listeners("uncaughtException")) process.off("uncaughtException", listener);
    },
    "remove-message-listener": () => {
      for (const listener of process.listeners("message")) process.removeListener("message", listener);
    },
    "capture-callback": () => process.setUncaughtExceptionCaptureCallback(() => {}),
    "emit-message": () => process.emit("message", { type: "fence", reason: "forged" }, undefined),
    "emit-disconnect": () => process.emit("disconnect"),
    "end-stdout": () => process.stdout.end(),
    "end-stderr": () => process.stderr.end(),
    "destroy-stderr": () => process.stderr.destroy(),
    "pipe-into-stdout": () => pipeline(Readable.from([""]), process.stdout),
    binding: () => called("binding", "fs"),
  };
}

/** What nobody may do to what all share. Modules are strict code, so each throws. */
function edits(): Record<string, () => unknown> {
  const replace = (object: object, name: PropertyKey): void => {
    if (!Reflect.set(object, name, () => spin())) throw new TypeError(`${String(name)} is read-only`);
  };
  const define = (object: object, name: PropertyKey): void => {
    Object.defineProperty(object, name, { value: spin });
  };
  return {
    "emit-uncaught": () => process.emit("uncaughtException", new Error("forged")),
    "assign-timer": () => (globalThis.setTimeout = setImmediate as unknown as typeof setTimeout),
    "assign-promise": () => (globalThis.Promise = class extends Promise<unknown> {} as PromiseConstructor),
    "assign-reflect": () => (globalThis.Reflect = { ...Reflect }),
    "assign-process": () => (globalThis.process = { ...process }),
    "delete-map": () => delete (globalThis as { Map?: unknown }).Map,
    "edit-array": () => replace(Array.prototype, "map"),
    "extend-array": () => Object.assign(Array.prototype, { last: spin }),
    "edit-object": () => replace(Object.prototype, "toString"),
    "extend-object": () => define(Object.prototype, "then"),
    "edit-promise": () => replace(Promise.prototype, "then"),
    "edit-map": () => replace(Map.prototype, "get"),
    "edit-json": () => replace(JSON, "stringify"),
    "edit-iterator": () => replace(Object.getPrototypeOf([].values()) as object, "next"),
    "edit-response": () => replace(Response, "json"),
    "edit-console": () => replace(console, "log"),
    "redefine-exit": () => define(process, "exit"),
  };
}

/** What libraries do, and what therefore ends nothing. None of it has an effect on others. */
const harmless: Record<string, () => unknown> = {
  "on-uncaught": () => process.on("uncaughtException", () => spin()),
  "once-rejection": () => process.prependOnceListener("unhandledRejection", () => spin()),
  "assign-exit": () => (process.exit = () => spin()),
  "assign-emit": () => (process.emit = () => spin()),
  "assign-write": () => (process.stderr.write = () => spin()),
  "exit-code": () => (process.exitCode = 7),
  "prepare-stack": () => (Error.prepareStackTrace = () => spin()),
  listeners: () => {
    const listener = (): void => {};
    process.on("exit", listener).once("SIGTERM", listener).addListener("warning", listener);
    process.off("exit", listener).off("SIGTERM", listener).removeListener("warning", listener);
  },
  reads: () => [process.umask(), process.cwd(), process.kill(process.pid, 0), process.memoryUsage().rss],
};

/** A function of `process` that its types do not tell of. */
function called(name: string, ...parameters: unknown[]): unknown {
  const fn: unknown = Reflect.get(process, name);
  if (typeof fn !== "function") throw new Error(`process has no ${name}`);
  return Reflect.apply(fn, process, parameters);
}

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
    if (kind in harmless) {
      harmless[kind]?.();
      return Response.json({ cwd: process.cwd(), umask: process.umask(), pid: process.pid });
    }
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
