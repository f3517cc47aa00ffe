// The application of the cluster and chaos tests. Every class says where it runs and which life of the name answers, so that a
// test can tell two servers of one name apart by what a client sees.

import { randomUUID } from "node:crypto";
import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { defineMesh, MeshError, SessionServer, type SessionOptions, type SessionSocket } from "sessionmesh";

/** Sessions that tests count and compare must not end by themselves. */
const FOR_EVER: SessionOptions = { idleMs: Infinity };

abstract class Placed extends SessionServer {
  /** A second server of the name has another one. */
  readonly instance = randomUUID();

  where() {
    const { id, node, worker, fence } = this.ctx;
    return { name: id.name, node, worker, pid: process.pid, fence, instance: this.instance };
  }
}

class Counter extends Placed {
  static readonly options: SessionOptions = FOR_EVER;
  count = 0;

  override fetch(_request: Request): Response | Promise<Response> {
    this.count += 1;
    return Response.json({ count: this.count, ...this.where() });
  }
}

/** Only on nodes with the label disk=ssd. */
class OnSsd extends Counter {
  static override readonly options: SessionOptions = { ...FOR_EVER, placement: { labels: { disk: "ssd" } } };
}

class Spread extends Counter {
  static override readonly options: SessionOptions = { ...FOR_EVER, placement: { policy: "spread" } };
}

/** Reads no more of a body than the default limit of its class. */
class Small extends Placed {
  static readonly options: SessionOptions = { ...FOR_EVER, maxBodyBytes: 1_000 };

  override async fetch(request: Request) {
    return Response.json({ bytes: (await request.arrayBuffer()).byteLength, ...this.where() });
  }
}

class Slow extends Counter {
  override async fetch(request: Request) {
    await sleep(Number(new URL(request.url).searchParams.get("ms")));
    return super.fetch(request);
  }
}

/** Bytes of one chunk of a streamed body. */
const CHUNK_BYTES = 65_536;

class Stream extends Placed {
  static readonly options: SessionOptions = { ...FOR_EVER, maxBodyBytes: Infinity, requestTimeoutMs: Infinity };

  override async fetch(request: Request) {
    const url = new URL(request.url);
    if (url.pathname.endsWith("/down")) return new Response(zeroes(Number(url.searchParams.get("bytes"))));
    let bytes = 0;
    if (request.body !== null) for await (const chunk of request.body) bytes += chunk.byteLength;
    return Response.json({ bytes, ...this.where() });
  }
}

function zeroes(total: number): ReadableStream<Uint8Array> {
  let left = total;
  return new ReadableStream({
    pull(controller) {
      const bytes = Math.min(left, CHUNK_BYTES);
      left -= bytes;
      if (bytes > 0) controller.enqueue(new Uint8Array(bytes));
      if (left === 0) controller.close();
    },
  });
}

/** Sends everything back. A text `close:<code>:<reason>` closes from this side. GET tells how its sockets ended. */
class Echo extends Placed {
  static readonly options: SessionOptions = FOR_EVER;
  readonly #ends: { code: number; reason: string; wasClean: boolean }[] = [];

  override fetch(_request: Request): Response | Promise<Response> {
    return Response.json({ sockets: this.sockets().length, ends: this.#ends, ...this.where() });
  }

  override onConnect() {}

  override onMessage(socket: SessionSocket, message: string | Uint8Array) {
    const [word, code, reason] = typeof message === "string" ? message.split(":") : [];
    if (word === "close") socket.close(Number(code), reason);
    else socket.send(message);
  }

  override onClose(_socket: SessionSocket, code: number, reason: string, wasClean: boolean) {
    this.#ends.push({ code, reason, wasClean });
  }
}

/** Passes every message on to all other sockets. */
class Room extends Placed {
  static readonly options: SessionOptions = FOR_EVER;

  override fetch() {
    return Response.json({ sockets: this.sockets().length, ...this.where() });
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array) {
    this.broadcast(message, { except: socket });
  }
}

/** Is busy with the first message until POST /release; then takes the rest. */
class Sink extends Placed {
  static readonly options: SessionOptions = { ...FOR_EVER, turns: "interleaved" };
  readonly #released = Promise.withResolvers<void>();
  #bytes = 0;
  #messages = 0;

  override fetch(request: Request) {
    if (request.method === "POST") this.#released.resolve();
    return Response.json({ bytes: this.#bytes, messages: this.#messages, ...this.where() });
  }

  override async onMessage(_socket: SessionSocket, message: string | Uint8Array) {
    this.#messages += 1;
    this.#bytes += message.length;
    await this.#released.promise;
  }
}

/** Sends to its sockets without a look at whether they read, as a careless session would: POST /?bytes=. */
class Flood extends Echo {
  override async fetch(request: Request) {
    let left = Number(new URL(request.url).searchParams.get("bytes"));
    for (; left > 0 && this.sockets().length > 0; left -= CHUNK_BYTES) {
      this.broadcast(new Uint8Array(CHUNK_BYTES));
      // The event loop must turn, or nothing is sent and nothing can be closed.
      await new Promise(setImmediate);
    }
    return super.fetch(request);
  }
}

/** Throws when it is told to, in a request or in a timer. */
class Fragile extends Counter {
  static override readonly options: SessionOptions = { uncaught: "session" };
  override fetch(request: Request) {
    if (request.url.endsWith("/throw")) throw new Error("told to crash");
    if (request.url.endsWith("/throw-later"))
      setTimeout(() => {
        throw new Error("told to crash in a timer");
      }, 0);
    if (request.url.endsWith("/reject")) return Promise.reject(new Error("told to reject"));
    return super.fetch(request);
  }

  override onConnect() {}
}

/** Writes the reason of its end to the file that TEST_JOURNAL names. */
abstract class Journaled extends Counter {
  override onStop(reason: string) {
    const journal = this.ctx.env["TEST_JOURNAL"];
    if (journal !== undefined) appendFileSync(journal, `${this.ctx.id.kind}/${this.ctx.id.name} ${reason}\n`);
  }
}

/** Errs as it is told to, and goes on. */
class Erring extends Counter {
  override fetch(request: Request) {
    const { pathname } = new URL(request.url);
    if (pathname.endsWith("/throw")) throw new Error("told to");
    // oxlint-disable-next-line typescript/only-throw-error -- a Response may be
    if (pathname.endsWith("/response")) throw new Response("pay first", { status: 402 });
    return super.fetch(request);
  }

  override async onConnect(socket: SessionSocket, request: Request) {
    const { searchParams } = new URL(request.url);
    const refuse = searchParams.get("refuse");
    if (refuse === "forbidden" || refuse === "unauthorized") throw new MeshError(refuse, "not you");
    if (refuse === "error") throw new Error("told to");
    // oxlint-disable-next-line typescript/only-throw-error -- a Response may be
    if (refuse === "response") throw new Response("pay first", { status: 402, headers: { "x-why": "money" } });
    socket.send(socket.id);
    if (refuse === "close") socket.close(1008, "not today");
  }

  override onMessage(socket: SessionSocket, message: string | Uint8Array) {
    if (message === "blob") socket.send(new Blob(["a ", "blob"]));
    else if (message === "numbers") socket.send(new Uint16Array([1, 2]));
    else if (typeof message === "string" && message.startsWith("close ")) socket.close(Number(message.slice(6)), "bye");
    else this.broadcast(JSON.stringify(JSON.parse(String(message))));
  }
}

/** Answers nothing. */
class Deaf extends SessionServer {}

class Idle extends Journaled {
  static override readonly options: SessionOptions = { idleMs: 300 };

  override onConnect() {}
}

class Lasting extends Journaled {
  override fetch(request: Request) {
    if (request.method === "DELETE") this.ctx.destroy();
    return super.fetch(request);
  }
}

export default defineMesh({
  sessions: {
    counter: Counter,
    ssd: OnSsd,
    spread: Spread,
    small: Small,
    slow: Slow,
    stream: Stream,
    echo: Echo,
    room: Room,
    sink: Sink,
    flood: Flood,
    fragile: Fragile,
    erring: Erring,
    deaf: Deaf,
    idle: Idle,
    lasting: Lasting,
  },
});
