// What an error of one event costs: that event, and the session only where its class says so or the error belongs to no event.

import { describe, expect, test } from "vitest";
import { MeshError, SessionServer, type ErrorOrigin, type SessionOptions, type SessionSocket } from "sessionmesh";
import { FakeClient, callTo, codeOf, idOf, settle, startHost } from "./harness.ts";

const boom = new Error("boom");

/** Does what the test says; counts, and keeps what it is told. */
class Room extends SessionServer {
  static readonly options: SessionOptions = {};
  count = 0;
  override fetch(request: Request): Response | Promise<Response> {
    this.count++;
    const { pathname } = new URL(request.url);
    if (pathname !== "/fault") return new Response(String(this.count));
    return fault.fetch(this);
  }
  override onConnect(socket: SessionSocket): void | Promise<void> {
    return fault.connect(socket);
  }
  override onMessage(socket: SessionSocket, message: string | Uint8Array): void | Promise<void> {
    return fault.message(String(message), this, socket);
  }
  override onClose(_socket: SessionSocket, code: number): void {
    told.push(`close ${code}`);
    fault.close();
  }
  override onError(socket: SessionSocket | undefined, error: unknown, origin: ErrorOrigin): void | Promise<void> {
    told.push(`${origin.hook} ${origin.method} ${origin.url} ${socket === undefined ? "no socket" : "a socket"}`);
    errors.push(error);
    return fault.error();
  }
}

const nothing = {
  fetch: (_room: Room): Response | Promise<Response> => new Response(),
  connect: (_socket: SessionSocket): void | Promise<void> => {},
  message: (text: string, room: Room, _socket: SessionSocket): void | Promise<void> => room.broadcast(JSON.parse(text)),
  close: (): void => {},
  error: (): void | Promise<void> => {},
};
let fault = nothing;
let told: string[] = [];
let errors: unknown[] = [];

function start(faults: Partial<typeof nothing> = {}, more: Parameters<typeof startHost>[1] = {}) {
  fault = { ...nothing, ...faults };
  told = [];
  errors = [];
  return startHost({ room: Room, serial: Serial, brittle: Brittle }, more);
}

class Serial extends Room {
  static override readonly options: SessionOptions = { turns: "serial" };
}

class Brittle extends Room {
  static override readonly options: SessionOptions = { uncaught: "session" };
}

const throws = (thrown: unknown) => (): never => {
  throw thrown;
};
const rejects = (thrown: unknown) => async (): Promise<never> => {
  await settle();
  throw thrown;
};

describe.each([
  ["thrown", throws],
  ["rejected", rejects],
])("an error that is %s", (_how, fails) => {
  test("in fetch answers that request with 500; state, sockets and requests under way stay, and onError hears of it", async () => {
    const mesh = start({ fetch: fails(boom) });
    await mesh.get("room/a");
    const { client } = await mesh.connect("room/a");
    const error = await mesh.failure("room/a", "/fault");
    expect(error).toMatchObject({ code: "handler_failed", status: 500, session: "room/a", cause: boom });
    expect(error.message).not.toContain("boom");
    expect(await mesh.get("room/a")).toBe("3");
    expect(client.closed).toBeUndefined();
    expect(told).toEqual(["fetch GET http://mesh/fault no socket"]);
    expect(errors).toEqual([boom]);
    expect(mesh.ended).toEqual([]);
    expect(mesh.lines).toMatchObject([
      {
        level: "error",
        message: "handler failed",
        fields: { session: "room/a", hook: "fetch", error: "boom", stack: expect.stringContaining("uncaught.test") },
      },
    ]);
  });

  test("in onMessage closes that socket with 1011 and no other; onError comes before onClose", async () => {
    const mesh = start({ message: (text) => fails(new SyntaxError(text))() });
    const { client, end } = await mesh.connect("room/a");
    const { client: other } = await mesh.connect("room/a");
    await end.message("{not json");
    await settle();
    expect(client.closed).toEqual({
      code: 1011,
      reason: "onMessage() of the session failed; the log of its node says why",
    });
    expect(other.closed).toBeUndefined();
    expect(told).toEqual(["onMessage GET http://mesh/socket a socket", "close 1011"]);
    await end.message("more");
    expect(errors).toEqual([new SyntaxError("{not json")]);
    expect(mesh.ended).toEqual([]);
  });

  test("in onConnect refuses that handshake; the room never had the socket", async () => {
    const mesh = start();
    const { client } = await mesh.connect("room/a");
    fault = { ...nothing, connect: fails(boom) };
    expect(await codeOf(mesh.connect("room/a"))).toBe("handler_failed");
    await settle();
    expect(told).toEqual(["onConnect GET http://mesh/socket a socket"]);
    expect(mesh.host.describe(mesh.start("room/a"))?.sockets).toBe(1);
    expect(client.closed).toBeUndefined();
    expect(mesh.ended).toEqual([]);
  });

  test("in the body of an answer breaks that answer", async () => {
    const pull = fails(boom);
    const mesh = start({ fetch: () => new Response(new ReadableStream({ pull })) });
    const { body } = await mesh.send(callTo("room/a", { path: "/fault" }));
    if (!(body instanceof ReadableStream)) throw new Error("no stream");
    expect(await codeOf(body.getReader().read())).toBe("handler_failed");
    expect(told).toEqual(["fetch GET http://mesh/fault no socket"]);
    expect(await mesh.get("room/a")).toBe("2");
  });

  test("in onError is logged, and told to nobody", async () => {
    const mesh = start({ fetch: throws(boom), error: fails(new Error("in onError")) });
    expect(await mesh.code("room/a", "/fault")).toBe("handler_failed");
    await settle();
    await settle();
    expect(told).toHaveLength(1);
    expect(mesh.lines.map(({ fields }) => fields)).toMatchObject([{ error: "boom" }, { error: "in onError" }]);
    expect(await mesh.get("room/a")).toBe("2");
  });

  test("crashes the session whose class says so", async () => {
    const mesh = start({ fetch: fails(boom) });
    const { client } = await mesh.connect("brittle/a");
    expect(await mesh.code("brittle/a", "/fault")).toBe("session_crashed");
    expect(client.closed).toEqual({ code: 1011, reason: "session crashed" });
    expect(told).toEqual([]);
    expect(mesh.ended).toMatchObject([{ reason: "crashed", error: boom }]);
  });
});

test("an error in onClose costs nothing more: the socket is closed already", async () => {
  const mesh = start({ close: throws(boom) });
  const { end } = await mesh.connect("room/a");
  end.closed(1000, "", true);
  await settle();
  expect(told).toEqual(["close 1000", "onClose GET http://mesh/socket a socket"]);
  expect(mesh.ended).toEqual([]);
});

test.each<[string, (room: Room) => void]>([
  ["a rejection in waitUntil", (room) => room.ctx.waitUntil(Promise.reject(boom))],
  ["an error in blockConcurrencyWhile", (room) => void room.ctx.blockConcurrencyWhile(rejects(boom)).catch(() => {})],
])("%s belongs to no event and ends the session", async (_name, fail) => {
  const mesh = start({
    fetch: (room) => {
      fail(room);
      return new Response();
    },
  });
  await mesh.code("room/a", "/fault");
  await settle();
  await settle();
  expect(mesh.ended).toMatchObject([{ reason: "crashed", error: boom }]);
  expect(told).toEqual([]);
});

test("a serial session runs onError before the next event", async () => {
  const order: string[] = [];
  const gate = Promise.withResolvers<Response>();
  const mesh = start({
    fetch: () => {
      order.push("fetch");
      return order.length === 1 ? gate.promise : new Response();
    },
    error: async () => {
      order.push("onError begins");
      await settle();
      order.push("onError ends");
    },
  });
  const answers = [1, 2].map(() => mesh.code("serial/a", "/fault"));
  await settle();
  gate.reject(boom);
  expect(await Promise.all(answers)).toEqual(["handler_failed", "answered"]);
  expect(order).toEqual(["fetch", "onError begins", "onError ends", "fetch"]);
});

test("onError waits while the node may not act", async () => {
  const gate = Promise.withResolvers<Response>();
  const mesh = start({ fetch: () => gate.promise });
  const code = mesh.code("room/a", "/fault");
  await settle();
  mesh.lease.close();
  gate.reject(boom);
  expect(await code).toBe("handler_failed");
  await settle();
  expect(told).toEqual([]);
  mesh.lease.open();
  await settle();
  expect(told).toEqual(["fetch GET http://mesh/fault no socket"]);
});

describe("a burst of errors", () => {
  test("with nothing that goes well in between gives the session a pause of a second, and few lines", async () => {
    const mesh = start({ fetch: throws(boom) });
    const { client } = await mesh.connect("room/a");
    for (let at = 0; at < 100; at++) expect(await mesh.code("room/a", "/fault")).toBe("handler_failed");
    const refused = await mesh.failure("room/a", "/");
    expect(refused).toMatchObject({ code: "overloaded", retryAfterMs: 1_000 });
    expect(await codeOf(mesh.connect("room/a"))).toBe("overloaded");
    expect(await mesh.get("room/b")).toBe("1");
    expect(client.closed).toBeUndefined();
    expect(mesh.lines).toHaveLength(20);
    await mesh.clock.advance(1_000);
    expect(await mesh.get("room/a")).toBe("101");
    expect(mesh.ended).toEqual([]);
    await mesh.clock.advance(10_000);
    expect(await mesh.code("room/a", "/fault")).toBe("handler_failed");
    expect(mesh.lines.at(-1)).toMatchObject({ fields: { untold: 80 } });
  });

  test("beside events that go well is none: one bad client does not close a room", async () => {
    const mesh = start({ fetch: throws(boom) });
    for (let at = 0; at < 300; at++) {
      expect(await mesh.code("room/a", "/fault")).toBe("handler_failed");
      if (at % 50 === 0) await mesh.get("room/a");
    }
    expect(await mesh.code("room/a")).toBe("answered");
  });

  test("that takes long is none", async () => {
    const mesh = start({ fetch: throws(boom) });
    for (let at = 0; at < 150; at++) {
      expect(await mesh.code("room/a", "/fault")).toBe("handler_failed");
      await mesh.clock.advance(200);
    }
    expect(await mesh.code("room/a")).toBe("answered");
  });
});

describe("a client that is to blame", () => {
  test.each<[ConstructorParameters<typeof MeshError>[0], number, number]>([
    ["bad_request", 400, 1008],
    ["unauthorized", 401, 1008],
    ["forbidden", 403, 1008],
    ["not_found", 404, 1008],
    ["body_too_large", 413, 1009],
  ])("hears %s, and the session does not notice", async (code, status, closeCode) => {
    const fail = throws(new MeshError(code, "not you"));
    for (const kind of ["room", "brittle"]) {
      const mesh = start({ fetch: fail, message: fail });
      const { client, end } = await mesh.connect(`${kind}/a`);
      expect(await mesh.failure(`${kind}/a`, "/fault")).toMatchObject({ code, status, message: "not you" });
      await end.message("go");
      await settle();
      expect(client.closed).toEqual({ code: closeCode, reason: "not you" });
      fault = { ...nothing, connect: fail };
      expect(await codeOf(mesh.connect(`${kind}/a`))).toBe(code);
      await settle();
      expect(told).toEqual([`close ${closeCode}`]);
      expect([mesh.ended, mesh.lines]).toEqual([[], []]);
    }
  });
});

describe("a Response that is", () => {
  test.each([
    ["thrown", throws],
    ["rejected", rejects],
  ])("%s from fetch is the answer", async (_how, fails) => {
    for (const kind of ["room", "brittle"]) {
      const mesh = start({ fetch: fails(new Response("gone fishing", { status: 410 })) });
      expect(await mesh.send(callTo(`${kind}/a`, { path: "/fault" }))).toMatchObject({
        status: 410,
        body: "gone fishing",
      });
      const stream = new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from("streamed"));
          controller.close();
        },
      });
      fault = { ...nothing, fetch: fails(new Response(stream)) };
      expect(await mesh.get(`${kind}/a`, "/fault")).toBe("streamed");
      expect([told, mesh.ended, mesh.lines]).toEqual([[], [], []]);
    }
  });

  const long = "x".repeat(64 * 1024);
  const inParts = (text: string) => new Blob([text]).stream();
  test.each<[string, () => void | Promise<void>]>([
    ["thrown from onConnect", throws(new Response(long, { status: 402 }))],
    ["rejected", rejects(new Response(long, { status: 402 }))],
    ["streamed", throws(new Response(inParts(long), { status: 402 }))],
    ["returned against the type", () => new Response(long, { status: 402 }) as unknown as void],
    ["promised against the type", async () => new Response(long, { status: 402 }) as unknown as void],
  ])("%s answers the handshake", async (_name, connect) => {
    const mesh = start({ connect });
    mesh.start("room/a");
    const client = new FakeClient();
    const answer = await mesh.host.connect(callTo("room/a"), client);
    if (answer.status !== "answered") throw new Error(answer.status);
    expect(answer.reply.status).toBe(402);
    expect(String(answer.reply.body)).toBe(long);
    await settle();
    expect(mesh.host.describe(idOf("room/a").key)?.sockets).toBe(0);
    expect([told, client.sent, client.closed]).toEqual([[], [], undefined]);
  });

  test.each([
    ["too long", () => new Response(`${long}y`)],
    ["too long and streamed", () => new Response(inParts(`${long}y`))],
    ["read already", () => spent()],
  ])("%s is an error of that handshake", async (_name, response) => {
    const mesh = start({ connect: rejects(response()) });
    expect(await codeOf(mesh.connect("room/a"))).toBe("handler_failed");
    expect(told).toEqual(["onConnect GET http://mesh/socket a socket"]);
    expect(mesh.ended).toEqual([]);
  });
});

function spent(): Response {
  const response = new Response("x");
  void response.text();
  return response;
}

test("a client of an application in development hears which error it was, and where", async () => {
  const mesh = start({ fetch: throws(new RangeError("too far")) }, { clientErrors: "detailed" });
  const { message } = await mesh.failure("room/a", "/fault");
  expect(message).toMatch(/^RangeError: too far \(test\/node\/session\/uncaught\.test\.ts:\d+:\d+\)$/);
  expect((await mesh.failure("brittle/a", "/fault")).message).toBe(message);
  fault = { ...nothing, fetch: throws(Object.create(null)) };
  expect(await mesh.failure("room/a", "/fault")).toMatchObject({ code: "handler_failed" });
});
