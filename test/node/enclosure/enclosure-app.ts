// The application of the tests that hold for all isolation classes: each kind exists once for each class. It is loaded by the test
// itself, and again by each thread and process.

import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import v8 from "node:v8";
import {
  defineMesh,
  MeshError,
  SessionServer,
  type SessionOptions,
  type SessionSocket,
  type StopReason,
} from "sessionmesh";

const flood: unknown[] = [];

class Tester extends SessionServer {
  count = 0;
  ticks = 0;
  seen: string[] = [];

  override async onStart(): Promise<void> {
    if (this.ctx.id.name.startsWith("bad-start")) throw new Error("no start");
    await Promise.resolve();
    this.seen.push("started");
  }

  override onStop(reason: StopReason): void {
    this.ctx.log.info("stopping", { reason });
    if (this.ctx.id.name.startsWith("tells-")) this.ctx.waitUntil(this.tell(`stopped ${reason}`));
  }

  /** Says so to a session that lives longer. */
  async tell(word: string): Promise<void> {
    await this.ctx.mesh.session("listener", "all").fetch("/", { method: "POST", body: word });
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    this.count++;
    switch (pathname.replace(/^\/sessions\/[^/]+\/[^/]+/, "") || "/") {
      case "/":
        return Response.json({ count: this.count, pid: process.pid, ppid: process.ppid, threadId });
      case "/context": {
        const { id, node, worker, fence } = this.ctx;
        return Response.json({ id: { kind: id.kind, name: id.name }, node, worker, fence, seen: this.seen });
      }
      case "/echo":
        return new Response(request.body, { status: 201, headers: { "x-method": request.method } });
      case "/headers":
        return Response.json({ got: request.headers.get("x-one"), url: request.url });
      case "/endless":
        return new Response(
          new ReadableStream({
            pull: (controller) => {
              this.ticks++;
              controller.enqueue(new Uint8Array(64 * 1024));
            },
          }),
        );
      case "/ticks":
        return Response.json(this.ticks);
      case "/interval":
        setInterval(() => this.ticks++, 10);
        return new Response("set");
      case "/ask": {
        const other = await this.ctx.mesh.session(searchParams.get("kind") ?? "", "other").fetch("/echo", {
          method: "PUT",
          body: "asked",
        });
        return new Response(`${other.status} ${other.headers.get("x-method")} ${await other.text()}`);
      }
      case "/abort-ask":
        return new Response(await this.#abortAsk(searchParams.get("kind") ?? ""));
      case "/watched":
        request.signal.addEventListener("abort", () => this.seen.push("aborted"));
        return new Response(
          new ReadableStream({
            pull: (controller) => controller.enqueue(Buffer.from("chunk")),
            cancel: () => void this.seen.push("cancelled"),
          }),
        );
      case "/inactive":
        await this.ctx.mesh.session("listener", "nobody", { onlyIfActive: true }).fetch("/");
        return new Response("active");
      case "/block":
        void this.ctx.blockConcurrencyWhile(() => sleep(100));
        return new Response("blocked");
      case "/destroy":
        this.ctx.destroy();
        return new Response("bye");
      case "/never":
        request.signal.addEventListener("abort", () => this.seen.push("aborted"));
        return await new Promise(() => {});
      case "/throw":
        throw new Error("told to");
      case "/throw-response":
        // oxlint-disable-next-line typescript/only-throw-error -- a Response may be
        throw new Response("short and stout", { status: 418 });
      case "/stray":
        setTimeout(() => {
          throw new Error("told to, later");
        }, 1);
        return await new Promise(() => {});
      case "/spin":
        for (;;);
      case "/microtasks":
        for (;;) await Promise.resolve();
      case "/compute": {
        const endMs = performance.now() + Number(searchParams.get("ms"));
        while (performance.now() < endMs);
        return new Response("computed");
      }
      case "/exit":
        process.exit(3);
        break;
      case "/abort":
        process.abort();
        break;
      case "/segfault":
        // No API of Node gets there; its own kill does what a broken addon would.
        process.kill(process.pid, "SIGSEGV");
        return await new Promise(() => {});
      case "/kill-worker":
        process.kill(process.ppid, "SIGKILL");
        break;
      case "/kill-self":
        process.kill(process.pid, "SIGKILL");
        break;
      case "/objects":
        for (;;) flood.push({ at: flood.length });
      case "/buffers":
        for (;;) {
          flood.push(Buffer.alloc(1_000_000, 1));
          await sleep(1);
        }
      case "/heap":
        return Response.json(Math.round(v8.getHeapStatistics().heap_size_limit / 1024 / 1024));
    }
    return new Response("?", { status: 404 });
  }

  /** Reads a little of another session's answer, and aborts: what the reader gets then. */
  async #abortAsk(kind: string): Promise<string> {
    const controller = new AbortController();
    const { signal } = controller;
    const answer = await this.ctx.mesh.session(kind, "watched").fetch("/watched", { signal });
    const reader = answer.body?.getReader();
    const { value } = (await reader?.read()) ?? {};
    controller.abort(new RangeError("enough"));
    const end = await reader?.read().then(String, String);
    return `${Buffer.from(value ?? []).toString()}, ${end}`;
  }

  override onConnect(socket: SessionSocket, request: Request): void {
    const { searchParams } = new URL(request.url);
    const refuse = searchParams.get("refuse");
    if (refuse === "error") throw new Error("told to");
    // oxlint-disable-next-line typescript/only-throw-error -- a Response may be
    if (refuse === "response") throw new Response("pay first", { status: 402, headers: { "x-why": "money" } });
    if (refuse === "forbidden" || refuse === "unauthorized") throw new MeshError(refuse, "not you");
    socket.tags = [searchParams.get("tag") ?? ""];
    socket.send(`hello ${this.sockets().length}`);
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    if (message === "throw") throw new Error("told to");
    if (message === "close") socket.close(4000, "enough");
    else if (message === "flood") for (let at = 0; at < 100; at++) socket.send("x".repeat(100_000));
    else if (message === "spin") for (;;);
    else if (typeof message === "string" && message.startsWith("all ")) this.broadcast(message, { except: socket });
    else if (typeof message === "string" && message.startsWith("vip ")) this.broadcast(message, { tag: "vip" });
    else socket.send(message);
  }

  override onClose(_socket: SessionSocket, code: number, reason: string, clean: boolean): void {
    this.seen.push(`close ${code} ${reason} ${clean}`);
  }

  override onError(_socket: SessionSocket | undefined, error: Error): void {
    this.seen.push(error.message.replace(/^socket \S+ /, ""));
  }
}

const OPTIONS = {
  idleMs: 60_000,
  maxBufferedBytes: 1_000_000,
  maxMessageBytes: 200_000,
} satisfies SessionOptions;
/** A slow machine takes a second to fill a heap. */
const BOUNDS = { turnBudgetMs: 3_000, heapMb: 64 } satisfies SessionOptions;

class SharedTester extends Tester {
  static readonly options: SessionOptions = OPTIONS;
}

class ThreadTester extends Tester {
  static readonly options: SessionOptions = { ...OPTIONS, ...BOUNDS, isolation: "thread" };
}

class ProcessTester extends Tester {
  static readonly options: SessionOptions = { ...OPTIONS, ...BOUNDS, isolation: "process" };
}

class SharedShort extends Tester {
  static readonly options: SessionOptions = { idleMs: 100 };
}

class ThreadShort extends Tester {
  static readonly options: SessionOptions = { idleMs: 100, isolation: "thread" };
}

class ProcessShort extends Tester {
  static readonly options: SessionOptions = { idleMs: 100, isolation: "process" };
}

/** Nobody ends its turns but the end of its worker. */
class ProcessForLong extends Tester {
  static readonly options: SessionOptions = { isolation: "process", turnBudgetMs: 3_600_000 };
}

/** Keeps what it is told. */
class Listener extends SessionServer {
  readonly heard: string[] = [];
  override async fetch(request: Request): Promise<Response> {
    if (request.method === "POST") this.heard.push(await request.text());
    return Response.json(this.heard);
  }
}

export default defineMesh({
  sessions: {
    shared: SharedTester,
    thread: ThreadTester,
    process: ProcessTester,
    "shared-short": SharedShort,
    "thread-short": ThreadShort,
    "process-short": ProcessShort,
    "process-for-long": ProcessForLong,
    listener: Listener,
  },
});
