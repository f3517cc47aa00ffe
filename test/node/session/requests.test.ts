import { expect, test } from "vitest";
import { MeshError, SessionServer, type SessionOptions } from "sessionmesh";
import { responseOf } from "../../../node/web/web.ts";
import { callTo, codeOf, settle, startHost, idOf } from "./harness.ts";

function streamOf(...chunks: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(Buffer.from(chunk));
    },
  });
}

test("what its class never answers is known before a session is started", () => {
  class Page extends SessionServer {
    override fetch(): Response {
      return new Response();
    }
  }
  class Deaf extends SessionServer {}
  class Room extends SessionServer {
    override onMessage(): void {}
  }
  const { host } = startHost({ page: Page, deaf: Deaf, room: Room });
  const refused = (kind: string) =>
    [false, true].map((upgrade) => host.refusalOf(idOf(`${kind}/a`), upgrade)?.code ?? "served");
  expect(refused("page")).toEqual(["served", "bad_upgrade"]);
  expect(refused("room")).toEqual(["not_found", "served"]);
  expect(refused("deaf")).toEqual(["not_found", "bad_upgrade"]);
  expect(host.size).toBe(0);
});

test("a class without fetch answers not_found and says what to add", async () => {
  class Deaf extends SessionServer {}
  const { send, ended } = startHost({ deaf: Deaf });
  expect(() => send(callTo("deaf/a"))).toThrow("Deaf has no method fetch()");
  expect(ended).toEqual([]);
});

test("the request has the method, the URL and the body that were sent", async () => {
  class Echo extends SessionServer {
    override async fetch(request: Request): Promise<Response> {
      return new Response(`${request.method} ${request.url} ${await request.text()}`, { status: 201 });
    }
  }
  const { send } = startHost({ echo: Echo });
  const reply = await send(callTo("echo/a", { path: "/x?y=1", body: streamOf("one ", "two") }));
  expect(reply.status).toBe(201);
  expect(await responseOf(reply).text()).toBe("POST http://mesh/x?y=1 one two");
});

class Small extends SessionServer {
  static readonly options = { maxBodyBytes: 10, requestTimeoutMs: 1_000, idleMs: 5_000 };
  served = 0;
  aborted: unknown;
  override async fetch(request: Request): Promise<Response> {
    const { signal } = request;
    const { pathname } = new URL(request.url);
    if (pathname === "/aborted") return Response.json(String(this.aborted));
    if (pathname === "/wait") {
      await new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          this.aborted = signal.reason;
          reject(signal.reason);
        });
      });
    }
    if (pathname === "/never") await new Promise(() => {});
    await request.text();
    return new Response(String(++this.served));
  }
}

test("a body over the limit answers body_too_large, and the session lives on", async () => {
  const { send, get, ended } = startHost({ small: Small });
  await get("small/a");
  expect(await codeOf(send(callTo("small/a", { body: streamOf("12345", "67890", "1") })))).toBe("body_too_large");
  expect(await codeOf(send(callTo("small/a", { body: Buffer.alloc(11) })))).toBe("body_too_large");
  expect(await codeOf(send(callTo("small/a", { body: Buffer.alloc(10) })))).toBe("answered");
  expect(await get("small/a")).toBe("3");
  expect(ended).toEqual([]);
});

test("a caller that goes away aborts request.signal and ends nothing", async () => {
  const { send, get, ended } = startHost({ small: Small });
  await get("small/a");
  const call = callTo("small/a", { path: "/wait" });
  const answer = codeOf(send(call));
  call.cancel(new MeshError("cancelled", "the client went away"));
  expect(await answer).toBe("cancelled");
  await settle();
  expect(await get("small/a", "/aborted")).toContain("AbortError");
  expect(await get("small/a")).toBe("2");
  expect(ended).toEqual([]);
});

test("a request without an answer in time gets timeout, its signal is aborted, and the session lives on", async () => {
  const { send, get, clock, ended } = startHost({ small: Small });
  await get("small/a");
  const answer = codeOf(send(callTo("small/a", { path: "/wait" })));
  await clock.advance(1_300);
  expect(await answer).toBe("timeout");
  expect(await get("small/a", "/aborted")).toContain("TimeoutError");
  expect(ended).toEqual([]);
});

test("the caller's own limit holds when it is shorter", async () => {
  const { send, clock } = startHost({ small: Small });
  const answer = codeOf(send(callTo("small/a", { path: "/never", timeoutMs: 300 })));
  await clock.advance(600);
  expect(await answer).toBe("timeout");
});

test("a handler that never settles keeps its session from idling until its time limit only", async () => {
  const { send, clock, ended } = startHost({ small: Small });
  const answer = codeOf(send(callTo("small/a", { path: "/never" })));
  const call = callTo("small/a", { path: "/never" });
  const cancelled = codeOf(send(call));
  call.cancel(new MeshError("cancelled", "gone"));
  await clock.advance(8_000);
  expect([await answer, await cancelled]).toEqual(["timeout", "cancelled"]);
  expect(ended).toMatchObject([{ reason: "idle" }]);
});

// ---- streamed answers ----

/** One stream for each test to steer. */
let source: ReadableStreamDefaultController<unknown>;
let cancelReason: unknown;
let abortReason: unknown;
class Streaming extends SessionServer {
  static readonly options: SessionOptions = { idleMs: 2_000 };
  override fetch(request: Request): Response {
    cancelReason = undefined;
    const { signal } = request;
    signal.addEventListener("abort", () => {
      abortReason = signal.reason;
    });
    const body = new ReadableStream<unknown>({
      start(controller) {
        source = controller;
      },
      cancel(reason) {
        cancelReason = reason;
      },
    });
    return new Response(body as ReadableStream<Uint8Array>);
  }
}

async function openStream(mesh: ReturnType<typeof startHost>) {
  const call = callTo("streaming/a");
  const { body } = await mesh.send(call);
  if (!(body instanceof ReadableStream)) throw new Error("no stream");
  return { call, reader: body.getReader(), body };
}

test("a streamed answer passes chunks on, keeps the session from idling, and ends with its source", async () => {
  const mesh = startHost({ streaming: Streaming });
  const { reader } = await openStream(mesh);
  source.enqueue(Buffer.from("one"));
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("one");
  await mesh.clock.advance(10_000);
  expect(mesh.host.size).toBe(1);
  source.close();
  expect((await reader.read()).done).toBe(true);
  await mesh.clock.advance(3_000);
  expect(mesh.ended).toMatchObject([{ reason: "idle" }]);
});

class Brittle extends Streaming {
  static override readonly options: SessionOptions = { idleMs: 2_000, uncaught: "session" };
}

test.each([
  ["an error of the stream", () => source.error(new Error("boom"))],
  ["a chunk that is no bytes", () => source.enqueue("text")],
])("%s breaks that body alone, or crashes the session of a class that says so", async (_name, fail) => {
  const mesh = startHost({ streaming: Streaming });
  const { reader } = await openStream(mesh);
  fail();
  expect(await codeOf(reader.read())).toBe("handler_failed");
  await mesh.clock.advance(1_000);
  expect(mesh.ended).toEqual([]);
  const brittle = startHost({ streaming: Brittle });
  const { reader: other } = await openStream(brittle);
  fail();
  expect(await codeOf(other.read())).toBe("session_crashed");
  expect(brittle.ended).toMatchObject([{ reason: "crashed" }]);
});

test("a session that ends breaks its streams", async () => {
  const mesh = startHost({ streaming: Streaming });
  const { reader } = await openStream(mesh);
  const read = codeOf(reader.read());
  mesh.host.dropAll(1012);
  expect(await read).toBe("session_lost");
});

test("a stop waits for streams as long as its limit allows, then breaks them", async () => {
  const mesh = startHost({ streaming: Streaming });
  const { reader } = await openStream(mesh);
  const stopped = mesh.host.stop(mesh.start("streaming/a"), "stop");
  source.enqueue(Buffer.from("late"));
  expect((await reader.read()).done).toBe(false);
  const read = codeOf(reader.read());
  await mesh.clock.advance(5_500);
  await stopped;
  expect(await read).toBe("session_lost");
});

test("a reader that goes away cancels the source and ends nothing", async () => {
  const mesh = startHost({ streaming: Streaming });
  const { reader } = await openStream(mesh);
  await reader.cancel("enough");
  await settle();
  expect(cancelReason).toBe("enough");
  expect(abortReason).toMatchObject({ name: "AbortError" });
  const { call, reader: other } = await openStream(mesh);
  const read = codeOf(other.read());
  call.cancel(new MeshError("cancelled", "gone"));
  expect(await read).toBe("cancelled");
  await settle();
  expect(cancelReason).toBeDefined();
  await mesh.clock.advance(3_000);
  expect(mesh.ended).toMatchObject([{ reason: "idle" }]);
});

test("waitUntil promises without end are refused, to the code that adds one too many and to further requests", async () => {
  class Waits extends SessionServer {
    override fetch(request: Request): Response {
      const count = Number(new URL(request.url).searchParams.get("count"));
      for (let at = 0; at < count; at++) this.ctx.waitUntil(new Promise(() => {}));
      return new Response("waits");
    }
  }
  const { get, code, ended, lines } = startHost({ waits: Waits });
  expect(await get("waits/a", "/?count=10000")).toBe("waits");
  expect(await code("waits/a")).toBe("overloaded");
  expect(ended).toEqual([]);
  expect(await code("waits/b", "/?count=10001")).toBe("handler_failed");
  expect(ended).toEqual([]);
  expect(JSON.stringify(lines)).toContain("10000 response bodies and waitUntil promises of waits/b are under way");
});
