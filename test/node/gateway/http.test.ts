import { describe, expect, it, vi } from "vitest";
import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { MeshError } from "#proto";
import type { SessionCall, SessionReply } from "#mesh";
import { createGateway } from "../../../node/gateway/gateway.ts";
import { createLog } from "../../../node/log.ts";
import { edgeWith, fakeRouter, reply, type Edge } from "./fake-router.ts";

const PATH = "/sessions/counter/a";

/** Sends bytes as they are and gives all that came back when the server closed. */
async function raw(edge: Edge, bytes: string): Promise<string> {
  const socket = connect(edge.port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
  socket.on("error", () => undefined);
  socket.write(bytes);
  await once(socket, "close");
  return answer;
}

function send(edge: Edge, method: string, headers: Record<string, string> = {}): ClientRequest {
  return httpRequest({ port: edge.port, host: "127.0.0.1", path: PATH, method, headers, agent: false });
}

async function responseTo(request: ClientRequest): Promise<IncomingMessage> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return response;
}

async function textOf(call: SessionCall): Promise<string> {
  return call.body === null ? "" : new Response(call.body as BodyInit).text();
}

/** The value once it has stopped to change. */
async function steady(read: () => number): Promise<number> {
  let before = -1;
  await vi.waitUntil(
    () => {
      const same = read() === before;
      before = read();
      return same && before > 0;
    },
    { interval: 30 },
  );
  return before;
}

/** A stream that the test feeds. */
function fed(): {
  stream: ReadableStream<Uint8Array>;
  controller: ReadableStreamDefaultController<Uint8Array>;
  cancelled: Promise<unknown>;
} {
  const cancelled = Promise.withResolvers<unknown>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const stream = new ReadableStream<Uint8Array>(
    { start: (given) => void (controller = given), cancel: (reason) => cancelled.resolve(reason) },
    { highWaterMark: 0 },
  );
  return { stream, controller: controller!, cancelled: cancelled.promise };
}

describe("a reply", () => {
  it("goes out whole, with its length, status text and separate cookies", async () => {
    const headers = ["content-type", "text/plain", "set-cookie", "a=1", "set-cookie", "b=2"];
    await using edge = await edgeWith({
      fetch: () => reply("hé", { status: 418, statusText: "Short and stout", headers }),
    });
    const response = await fetch(edge.url + PATH);
    expect([response.status, response.statusText, response.headers.get("content-length")]).toEqual([
      418,
      "Short and stout",
      "3",
    ]);
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(await response.text()).toBe("hé");
  });

  it.each([1, 256, 8_192, 8_193, 100_000])("sends %d bytes of all values byte for byte", async (length) => {
    const bytes = new Uint8Array(length).map((_, at) => 255 - (at % 256));
    await using edge = await edgeWith({ fetch: () => reply(bytes) });
    const response = await fetch(edge.url + PATH);
    expect(response.headers.get("content-length")).toBe(String(length));
    expect(Buffer.compare(await response.bytes(), bytes)).toBe(0);
  });

  it("is the same through a promise", async () => {
    await using edge = await edgeWith({ fetch: async () => reply(new Uint8Array([104, 105])) });
    const response = await fetch(edge.url + PATH);
    expect([response.headers.get("content-length"), await response.text()]).toEqual(["2", "hi"]);
    await vi.waitFor(() => expect(edge.gateway.stats).toEqual({ sockets: 0, inFlight: 0, requests: 1 }));
  });

  it("cannot set the framing or the connection", async () => {
    const headers = [
      "Connection",
      "close",
      "Content-Length",
      "999",
      "Transfer-Encoding",
      "chunked",
      "Upgrade",
      "h2c",
      "X-Own",
      "1",
    ];
    await using edge = await edgeWith({ fetch: () => reply("abc", { headers }) });
    const response = await responseTo(send(edge, "GET").end());
    response.resume();
    expect(response.headers).toMatchObject({ "content-length": "3", "x-own": "1" });
    expect(response.headers).not.toHaveProperty("upgrade");
    expect(response.headers).not.toHaveProperty("transfer-encoding");
  });

  it("has no body for HEAD, 204 and 304, and an empty one for null", async () => {
    let next = reply("four");
    await using edge = await edgeWith({ fetch: () => next });
    const head = await fetch(edge.url + PATH, { method: "HEAD" });
    expect([head.headers.get("content-length"), await head.text()]).toEqual(["4", ""]);
    next = reply(null, { headers: ["content-length", "1234"] });
    expect((await fetch(edge.url + PATH, { method: "HEAD" })).headers.get("content-length")).toBe("1234");
    expect((await fetch(edge.url + PATH)).headers.get("content-length")).toBe("0");
    for (const status of [204, 304]) {
      next = reply("x", { status });
      const response = await fetch(edge.url + PATH);
      expect([response.status, response.headers.get("content-length"), await response.text()]).toEqual([
        status,
        null,
        "",
      ]);
    }
  });

  it("that HTTP does not allow becomes an error, at once and through a promise", async () => {
    const broken = reply("x", { headers: ["x-a", "1\n2"], statusText: "stale" });
    let next: SessionReply | Promise<SessionReply> = broken;
    await using edge = await edgeWith({ fetch: () => next });
    for (const value of [broken, Promise.resolve(broken)]) {
      next = value;
      const response = await fetch(edge.url + PATH);
      expect([response.status, response.statusText]).toEqual([500, "Internal Server Error"]);
      expect(await response.json()).toMatchObject({ code: "handler_failed" });
    }
  });

  it("keeps the connection for the next request", async () => {
    await using edge = await edgeWith({ fetch: (call) => reply(call.url.slice(-1)) });
    const get = (n: number): string =>
      `GET ${PATH}?${n} HTTP/1.1\r\nHost: a\r\n${n === 3 ? "Connection: close\r\n" : ""}\r\n`;
    const answer = await raw(edge, get(1) + get(2) + get(3));
    expect(answer.match(/\r\n\r\n\d/g)).toEqual(["\r\n\r\n1", "\r\n\r\n2", "\r\n\r\n3"]);
  });
});

describe("errors", () => {
  it("are problem details with Retry-After, and never a stack", async () => {
    let next: unknown = new MeshError("overloaded", "try later", { retryAfterMs: 1_200, session: "counter/a" });
    await using edge = await edgeWith({
      fetch: () => {
        throw next;
      },
    });
    const busy = await fetch(edge.url + PATH);
    expect([busy.status, busy.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await busy.json()).toMatchObject({
      code: "overloaded",
      detail: "try later",
      retryable: true,
      session: "counter/a",
    });
    next = new Error("secret: hunter2");
    const internal = await fetch(edge.url + PATH);
    expect(internal.status).toBe(500);
    expect(await internal.text()).not.toMatch(/hunter2|\.ts:/);
    expect(edge.logged.join()).toContain("hunter2");
  });

  it("say 504 when nobody enforces the session's time limit", async () => {
    const cancelled = Promise.withResolvers<MeshError>();
    await using edge = await edgeWith({
      limits: { requestTimeoutMs: -1_000 },
      fetch: (call) => {
        call.onCancel(cancelled.resolve);
        return new Promise(() => undefined);
      },
    });
    const response = await fetch(edge.url + PATH);
    expect([response.status, (await response.json()).code]).toEqual([504, "timeout"]);
    expect(await cancelled.promise).toMatchObject({ code: "timeout" });
  });
});

describe("what is not HTTP", () => {
  it("gets 400 and the end of the connection", async () => {
    await using edge = await edgeWith({ fetch: () => reply("ok") });
    for (const bytes of [
      "hello\r\n\r\n",
      `GET ${PATH} HTTP/1.1\r\n\r\n`,
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n`,
      `GET ${PATH} HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n`,
      `GET  HTTP/1.1\r\nHost: a\r\n\r\n`,
    ]) {
      expect(await raw(edge, bytes)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    }
    expect(edge.router.calls).toEqual([]);
  });

  it("gets 431 for headers that are too large and 400 for too many or a URL that is too long", async () => {
    await using edge = await edgeWith({ fetch: () => reply("ok") });
    const start = `GET ${PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`;
    expect(await raw(edge, `${start}X-Large: ${"x".repeat(17_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 .*"status":431/s,
    );
    expect(await raw(edge, `${start}${"a: b\r\n".repeat(99)}\r\n`)).toMatch(/^HTTP\/1\.1 400 .*more than 100 headers/s);
    expect(await raw(edge, start.replace(PATH, `${PATH}?${"x".repeat(9_000)}`) + "\r\n")).toMatch(
      /^HTTP\/1\.1 400 .*URL is longer/s,
    );
    expect(await raw(edge, `${start}${"a: b\r\n".repeat(98)}\r\n`)).toMatch(/^HTTP\/1\.1 200/);
  });

  it("gets 408 when the headers do not arrive in time", async () => {
    await using edge = await edgeWith({}, { limits: { headersTimeoutMs: 50 } });
    expect(await raw(edge, "GET / HTTP/1.1\r\nHost:")).toMatch(/^HTTP\/1\.1 408 .*"status":408/s);
  });

  it("is served on a connection that waited less than the keep-alive time, which is closed when nothing comes", async () => {
    await using edge = await edgeWith({ fetch: () => reply("ok") }, { limits: { keepAliveMs: 300 } });
    const request = `GET ${PATH} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const socket = connect(edge.port, "127.0.0.1");
    for (let answers = 0; answers < 2; answers++) {
      socket.write(request);
      const [answer] = (await once(socket, "data")) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 .*ok$/s);
    }
    await once(socket, "close");
  });

  it("keeps its connection as long as its answer takes", async () => {
    const answer = Promise.withResolvers<SessionReply>();
    const idle = Promise.withResolvers<void>();
    const fetch = (call: SessionCall): Promise<SessionReply> | SessionReply =>
      call.url.endsWith("slow") ? answer.promise : reply("ok");
    await using edge = await edgeWith({ fetch }, { limits: { keepAliveMs: 40 } });
    const slow = raw(edge, `GET ${PATH}/slow HTTP/1.1\r\nHost: a\r\n\r\n`);
    // A second connection, idle as long, tells that the time is up.
    void raw(edge, `GET ${PATH} HTTP/1.1\r\nHost: a\r\n\r\n`).then(() => idle.resolve());
    await idle.promise;
    answer.resolve(reply("late"));
    expect(await slow).toMatch(/^HTTP\/1\.1 200 .*late$/s);
  });

  it("gets 400 for TRACE", async () => {
    await using edge = await edgeWith({ fetch: () => reply("ok") });
    expect(await raw(edge, `TRACE ${PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 400 /,
    );
  });
});

describe("a request body", () => {
  it("reaches the session as a stream, of known length or chunked", async () => {
    await using edge = await edgeWith({ fetch: async (call) => reply(await textOf(call)) });
    expect(await (await fetch(edge.url + PATH, { method: "POST", body: "known" })).text()).toBe("known");
    const body = new Blob(["chun", "ked"]).stream();
    expect(await (await fetch(edge.url + PATH, { method: "POST", body, duplex: "half" } as RequestInit)).text()).toBe(
      "chunked",
    );
    const large = "x".repeat(900_000);
    expect(await (await fetch(edge.url + PATH, { method: "PUT", body: large })).text()).toBe(large);
  });

  it("is null when there is none", async () => {
    await using edge = await edgeWith({ fetch: (call) => reply(call.body === null ? "null" : "some") });
    expect(await (await fetch(edge.url + PATH)).text()).toBe("null");
    expect(await (await fetch(edge.url + PATH, { method: "POST", body: "" })).text()).toBe("null");
  });

  it("is not read before its session reads", async () => {
    const started = Promise.withResolvers<SessionCall>();
    const answer = Promise.withResolvers<SessionReply>();
    await using edge = await edgeWith({
      limits: { maxBodyBytes: Infinity },
      fetch: (call) => {
        started.resolve(call);
        return answer.promise;
      },
    });
    const request = send(edge, "POST", { "content-length": String(64 << 20) });
    request.on("error", () => undefined);
    for (let sent = 0; sent < 64; sent++) request.write(Buffer.alloc(1 << 20));
    const call = await started.promise;
    const left = await steady(() => request.writableLength);
    // The kernel's buffers take some megabytes; the rest stays with the client.
    expect(left).toBeGreaterThan(32 << 20);
    const reader = (call.body as ReadableStream<Uint8Array>).getReader();
    expect((await reader.read()).value?.byteLength).toBeGreaterThan(0);
    answer.resolve(reply("enough"));
    expect((await responseTo(request)).headers["connection"]).toBe("close");
    request.destroy();
  });

  it("of a declared length over the limit is refused at once, and the connection closed", async () => {
    await using edge = await edgeWith({ fetch: () => reply("never") });
    const answer = await raw(edge, `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\nsome of it`);
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*connection: close.*body_too_large/is);
    expect(edge.router.calls).toEqual([]);
  });

  it("that crosses the limit while it is read errors there, and the client gets 413 even if the session fails over it", async () => {
    const seen = Promise.withResolvers<unknown>();
    await using edge = await edgeWith({
      limits: { maxBodyBytes: 10 },
      fetch: async (call) => {
        await textOf(call).catch(seen.resolve);
        throw new MeshError("session_crashed", "it did not catch that");
      },
    });
    const answer = await raw(
      edge,
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n`,
    );
    expect(await seen.promise).toMatchObject({ code: "body_too_large" });
    expect(answer).toMatch(/^HTTP\/1\.1 413 .*body_too_large/s);
  });

  it("that breaks off errors the session's reader and cancels the call", async () => {
    const read = Promise.withResolvers<unknown>();
    const cancelled = Promise.withResolvers<MeshError>();
    const started = Promise.withResolvers<void>();
    await using edge = await edgeWith({
      fetch: async (call) => {
        call.onCancel(cancelled.resolve);
        started.resolve();
        await textOf(call).catch(read.resolve);
        return reply("nobody reads this");
      },
    });
    const request = send(edge, "POST", { "content-length": "100000" });
    request.on("error", () => undefined);
    request.write("some");
    await started.promise;
    request.destroy();
    expect(await read.promise).toMatchObject({ code: "cancelled" });
    expect(await cancelled.promise).toMatchObject({ code: "cancelled" });
    await vi.waitFor(() => expect(edge.gateway.stats.inFlight).toBe(0));
  });

  it("that is small arrives whole before its session is called, in however many pieces it came", async () => {
    await using edge = await edgeWith({
      fetch: async (call) => reply(`${call.body instanceof Uint8Array} ${await textOf(call)}`),
    });
    const request = send(edge, "POST", { "content-length": "8" });
    request.write("some");
    await vi.waitFor(() => expect(edge.gateway.stats.inFlight).toBe(1));
    expect(edge.router.calls).toHaveLength(0);
    request.end("more");
    const response = await responseTo(request);
    expect(String((await once(response, "data"))[0])).toBe("true somemore");
    const broken = send(edge, "POST", { "content-length": "8" });
    broken.on("error", () => undefined);
    broken.write("half");
    await vi.waitFor(() => expect(edge.gateway.stats.inFlight).toBe(1));
    broken.destroy();
    await vi.waitFor(() => expect(edge.gateway.stats.inFlight).toBe(0));
    expect(edge.router.calls).toHaveLength(1);
  });

  it("that is small and still too large for its kind is refused", async () => {
    await using edge = await edgeWith({ limits: { maxBodyBytes: 3 }, fetch: () => reply("never") });
    expect((await fetch(edge.url + PATH, { method: "POST", body: "four" })).status).toBe(413);
    expect(edge.router.calls).toEqual([]);
  });

  it("that nobody read is discarded when it is small, and ends the connection when it is large", async () => {
    await using edge = await edgeWith({ fetch: () => reply("done") });
    const small = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody`;
    const last = `GET ${PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    expect((await raw(edge, small + last)).match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    const large = await raw(
      edge,
      `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n${"x".repeat(899_999)}`,
    );
    expect(large).toMatch(/^HTTP\/1\.1 200 .*connection: close.*done$/is);
  });

  it("of which a part was read does not hold up the next request of the connection", async () => {
    await using edge = await edgeWith({
      fetch: async (call) => {
        if (!(call.body instanceof ReadableStream)) return reply("next");
        const reader = call.body.getReader();
        await reader.read();
        return reply("enough");
      },
    });
    const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 75536\r\n\r\n`;
    const last = `GET ${PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const socket = connect(edge.port, "127.0.0.1");
    let answer = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
    socket.write(`${head}${"x".repeat(10_000)}`);
    await vi.waitFor(() => expect(answer).toContain("enough"));
    await new Promise((resolve) => socket.write("x".repeat(65_536), resolve));
    // Two turns of the server, in which it takes in what it will: the next request must not ride on the same read.
    for (let turn = 0; turn < 2; turn++) await fetch(`${edge.url}/_mesh/health`);
    socket.write(last);
    await once(socket, "close");
    expect(answer).toMatch(/next$/);
  });

  it("is asked for with 100 Continue only when the session reads it", async () => {
    let reads = true;
    await using edge = await edgeWith({ fetch: async (call) => reply(reads ? await textOf(call) : "unread") });
    const request = send(edge, "POST", { "content-length": "4", expect: "100-continue" });
    request.flushHeaders();
    await once(request, "continue");
    request.end("body");
    expect((await responseTo(request)).statusCode).toBe(200);
    reads = false;
    const head = `POST ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`;
    const unread = await raw(edge, head);
    expect(unread).toMatch(/^HTTP\/1\.1 200 OK\r\n.*connection: close/is);
    const tooLarge = await raw(edge, head.replace("Length: 4", "Length: 1000001"));
    expect(tooLarge).toMatch(/^HTTP\/1\.1 413 /);
  });
});

describe("a streamed reply", () => {
  it("sends its head before the first chunk and each chunk as it comes", async () => {
    const { stream, controller } = fed();
    await using edge = await edgeWith({
      fetch: () => reply(stream, { headers: ["content-type", "text/event-stream"] }),
    });
    const response = await fetch(edge.url + PATH);
    const reader = response.body!.getReader();
    for (const text of ["one", "two"]) {
      controller.enqueue(new TextEncoder().encode(text));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(text);
    }
    controller.close();
    expect((await reader.read()).done).toBe(true);
    await vi.waitFor(() => expect(edge.gateway.stats.inFlight).toBe(0));
  });

  it("is pulled at the pace of its client", async () => {
    let pulled = 0;
    const chunk = new Uint8Array(1 << 20);
    const stream = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          pulled++;
          if (pulled > 24) controller.close();
          else controller.enqueue(chunk);
        },
      },
      { highWaterMark: 0 },
    );
    await using edge = await edgeWith({ fetch: () => reply(stream) });
    const response = await responseTo(send(edge, "GET").end());
    expect(await steady(() => pulled)).toBeLessThan(20);
    let bytes = 0;
    for await (const part of response) bytes += (part as Buffer).byteLength;
    expect(bytes).toBe(24 << 20);
  });

  it("that fails midway breaks the connection and never looks complete", async () => {
    const { stream, controller } = fed();
    await using edge = await edgeWith({ fetch: () => reply(stream) });
    const response = await fetch(edge.url + PATH);
    const text = response.text();
    controller.enqueue(new TextEncoder().encode("half"));
    controller.error(new Error("crashed"));
    await expect(text).rejects.toThrow();
  });

  it("of anything but bytes, or of another length than declared, breaks as well", async () => {
    let body: ReadableStream<Uint8Array> = new ReadableStream({
      pull: (c) => c.enqueue("text" as unknown as Uint8Array),
    });
    let headers: string[] = [];
    await using edge = await edgeWith({ fetch: () => reply(body, { headers }) });
    await expect(fetch(edge.url + PATH).then((response) => response.text())).rejects.toThrow();
    for (const declared of ["3", "9"]) {
      headers = ["content-length", declared];
      body = new Blob(["five5"]).stream();
      await expect(fetch(edge.url + PATH).then((response) => response.text())).rejects.toThrow();
    }
    headers = ["content-length", "5"];
    body = new Blob(["five5"]).stream();
    const response = await fetch(edge.url + PATH);
    expect([response.headers.get("content-length"), await response.text()]).toEqual(["5", "five5"]);
  });

  it("is cancelled when its client goes, and so is the call", async () => {
    const { stream, controller, cancelled } = fed();
    const called = Promise.withResolvers<MeshError>();
    await using edge = await edgeWith({
      fetch: (call) => {
        call.onCancel(called.resolve);
        return reply(stream);
      },
    });
    const request = send(edge, "GET").end();
    request.on("error", () => undefined);
    const response = await responseTo(request);
    controller.enqueue(new Uint8Array(1));
    await once(response, "data");
    request.destroy();
    expect([await called.promise, await cancelled]).toMatchObject([{ code: "cancelled" }, { code: "cancelled" }]);
  });

  it("that comes after its client has gone is cancelled unread", async () => {
    const { stream, cancelled } = fed();
    const late = Promise.withResolvers<SessionReply>();
    const started = Promise.withResolvers<void>();
    await using edge = await edgeWith({
      fetch: (call) => {
        call.onCancel(() => late.resolve(reply(stream)));
        started.resolve();
        return late.promise;
      },
    });
    const request = send(edge, "GET").end();
    request.on("error", () => undefined);
    await started.promise;
    request.destroy();
    await cancelled;
  });

  it("is not read for HEAD", async () => {
    const { stream, cancelled } = fed();
    await using edge = await edgeWith({ fetch: () => reply(stream, { headers: ["content-length", "77"] }) });
    const response = await fetch(edge.url + PATH, { method: "HEAD" });
    expect(response.headers.get("content-length")).toBe("77");
    await cancelled;
  });
});

describe("listen and close", () => {
  it("says which port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    const gateway = createGateway({ router: fakeRouter({}), log: createLog("json", {}, () => undefined) });
    await expect(gateway.listen({ port, bind: "127.0.0.1" })).rejects.toMatchObject({
      code: "bad_config",
      message: expect.stringContaining(`port ${port} is taken: `),
    });
    await gateway.close({ graceMs: 0 });
    other.close();
  });

  it("lets a request under way finish, and closes its connection", async () => {
    const late = Promise.withResolvers<SessionReply>();
    const started = Promise.withResolvers<void>();
    const edge = await edgeWith({
      fetch: () => {
        started.resolve();
        return late.promise;
      },
    });
    const response = fetch(edge.url + PATH);
    await started.promise;
    const closed = edge.gateway.close({ graceMs: 5_000 });
    late.resolve(reply("finished"));
    const answered = await response;
    expect([answered.headers.get("connection"), await answered.text()]).toEqual(["close", "finished"]);
    await closed;
    await expect(fetch(edge.url + PATH)).rejects.toThrow();
  });

  it("ends what is not finished after the grace", async () => {
    const cancelled = Promise.withResolvers<MeshError>();
    const started = Promise.withResolvers<void>();
    const edge = await edgeWith({
      fetch: (call) => {
        call.onCancel(cancelled.resolve);
        started.resolve();
        return new Promise(() => undefined);
      },
    });
    const response = fetch(edge.url + PATH);
    response.catch(() => undefined);
    await started.promise;
    await edge.gateway.close({ graceMs: 10 });
    await expect(response).rejects.toThrow();
    expect(await cancelled.promise).toMatchObject({ code: "cancelled" });
  });
});
