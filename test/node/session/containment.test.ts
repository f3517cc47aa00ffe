// Whatever a session does, its neighbours keep their state and their answers.

import { AsyncLocalStorage } from "node:async_hooks";
import { beforeEach, describe, expect, test } from "vitest";
import { MeshError, SessionServer, type SessionOptions, type SessionSocket } from "sessionmesh";
import { callTo, codeOf, settle, startHost } from "./harness.ts";

class Counter extends SessionServer {
  count = 0;
  override fetch(request: Request): Response | Promise<Response> {
    this.count++;
    const { pathname } = new URL(request.url);
    if (pathname === "/wait") return new Promise(() => {});
    return new Response(String(this.count));
  }
  override onMessage(_socket: SessionSocket, _message: string | Uint8Array): void | Promise<void> {}
}

const boom = new Error("boom");
let stops = 0;
beforeEach(() => {
  stops = 0;
});

class Faulty extends Counter {
  static readonly options: SessionOptions = { uncaught: "session" };
  override onStop(): void {
    stops++;
  }
}

class ThrowsInFetch extends Faulty {
  override fetch(request: Request): Response | Promise<Response> {
    if (new URL(request.url).pathname === "/fault") throw boom;
    return super.fetch(request);
  }
}
class RejectsInFetch extends Faulty {
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/fault") await Promise.reject(boom);
    return super.fetch(request);
  }
}
class Overflows extends Faulty {
  override fetch(request: Request): Response | Promise<Response> {
    const recurse = (): Response => recurse();
    return new URL(request.url).pathname === "/fault" ? recurse() : super.fetch(request);
  }
}
class ThrowsPoison extends Faulty {
  override fetch(request: Request): Response | Promise<Response> {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    // oxlint-disable-next-line typescript/only-throw-error -- session code may throw anything
    if (new URL(request.url).pathname === "/fault") throw proxy;
    return super.fetch(request);
  }
}
class ReturnsNothing extends Faulty {
  override fetch(request: Request): Response | Promise<Response> {
    if (new URL(request.url).pathname === "/fault") return undefined as unknown as Response;
    return super.fetch(request);
  }
}
class WaitsForFailure extends Faulty {
  override fetch(request: Request): Response | Promise<Response> {
    if (new URL(request.url).pathname === "/fault") this.ctx.waitUntil(Promise.reject(boom));
    return super.fetch(request);
  }
}
class FailsInBlock extends Faulty {
  override async fetch(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/fault") {
      await this.ctx.blockConcurrencyWhile(async () => {
        throw boom;
      });
    }
    return super.fetch(request);
  }
}

describe.each([
  ["a throw in fetch", ThrowsInFetch],
  ["a rejection in fetch", RejectsInFetch],
  ["a stack overflow", Overflows],
  ["a thrown value that cannot be looked at", ThrowsPoison],
  ["something that is no Response", ReturnsNothing],
  ["a rejection in waitUntil", WaitsForFailure],
  ["an error in blockConcurrencyWhile", FailsInBlock],
])("%s", (_name, Class) => {
  test("ends that session and nothing else", async () => {
    const mesh = startHost({ faulty: Class, counter: Counter });
    const { get, send, connect, ended, clock } = mesh;
    await get("faulty/neighbour");
    await get("counter/neighbour");
    await get("faulty/victim");
    const { client } = await connect("faulty/victim");
    const { client: other } = await connect("faulty/neighbour");
    const pending = codeOf(send(callTo("faulty/victim", { path: "/wait" })));
    const fault = await codeOf((async () => send(callTo("faulty/victim", { path: "/fault" })))());
    await settle();
    expect(["session_crashed", "answered"]).toContain(fault);
    expect(await pending).toBe("session_crashed");
    expect(client.closed).toEqual({ code: 1011, reason: "session crashed" });
    expect(ended).toHaveLength(1);
    expect(ended).toMatchObject([{ key: "faulty/victim", reason: "crashed" }]);
    expect(stops).toBe(0);
    // The next request finds a fresh server, and the neighbours what they had.
    expect(await get("faulty/victim")).toBe("1");
    expect(await get("faulty/neighbour")).toBe("2");
    expect(await get("counter/neighbour")).toBe("2");
    expect(other.closed).toBeUndefined();
    await clock.advance(1_000);
    expect(ended).toHaveLength(1);
  });
});

test("a crash in a socket hook ends that session and nothing else", async () => {
  class Sockets extends Counter {
    static readonly options = { uncaught: "session" } as const;
    override async onMessage(_socket: SessionSocket, message: string | Uint8Array): Promise<void> {
      await Promise.resolve();
      if (message === "fault") throw boom;
    }
    override onClose(socket: SessionSocket): void {
      if (socket.attachment === "fault") throw boom;
    }
    override onConnect(socket: SessionSocket): void {
      socket.attachment = this.ctx.id.name;
      if (this.ctx.id.name === "never") throw boom;
    }
  }
  const { get, connect, ended } = startHost({ sockets: Sockets });
  await get("sockets/neighbour");
  const { end, client } = await connect("sockets/message");
  await end.message("fault");
  expect(client.closed?.code).toBe(1011);
  const { end: closing } = await connect("sockets/fault");
  closing.closed(1000, "", true);
  expect(await codeOf(connect("sockets/never"))).toBe("session_crashed");
  expect(ended.map(({ key, reason }) => `${key} ${reason}`)).toEqual([
    "sockets/message crashed",
    "sockets/fault crashed",
    "sockets/never crashed",
  ]);
  expect(await get("sockets/neighbour")).toBe("2");
});

test("a constructor that throws answers its requests and is reported once", async () => {
  class Stillborn extends SessionServer {
    readonly broken = (() => {
      throw boom;
    })();
  }
  const { code, ended, host, start } = startHost({ stillborn: Stillborn });
  const key = start("stillborn/a");
  expect(host.has(key)).toBe(true);
  expect(await code("stillborn/a")).toBe("session_crashed");
  await settle();
  expect(host.has(key)).toBe(false);
  expect(ended).toEqual([{ key: "stillborn/a", reason: "crashed", error: boom }]);
});

test("onStart that rejects fails the requests that waited for it", async () => {
  class Stillborn extends SessionServer {
    override async onStart(): Promise<void> {
      await Promise.reject(boom);
    }
    override fetch(): Response {
      return new Response();
    }
  }
  const { code, ended } = startHost({ stillborn: Stillborn });
  expect(await code("stillborn/a")).toBe("session_crashed");
  expect(ended).toHaveLength(1);
});

test("the log has the error and the stack, the client neither", async () => {
  const { send, lines } = startHost({ faulty: ThrowsInFetch });
  const error = await (async () => send(callTo("faulty/a", { path: "/fault" })))().catch((thrown: unknown) => thrown);
  expect((error as MeshError).message).not.toContain("boom");
  expect(lines).toMatchObject([
    {
      level: "error",
      message: "session crashed",
      fields: { session: "faulty/a", error: "boom", stack: expect.stringContaining("containment.test") },
    },
  ]);
});

test("an error that blames the request answers it and ends nothing", async () => {
  class Strict extends Counter {
    override async fetch(request: Request): Promise<Response> {
      if (new URL(request.url).pathname === "/bad") throw new MeshError("bad_request", "no such field");
      if (request.method === "POST") await request.json();
      return super.fetch(request);
    }
  }
  const { get, code, send, ended } = startHost({ strict: Strict });
  await get("strict/a");
  expect(await code("strict/a", "/bad")).toBe("bad_request");
  expect(await codeOf(send(callTo("strict/a", { body: Buffer.from("{not json") })))).toBe("bad_request");
  expect(await get("strict/a")).toBe("2");
  expect(ended).toEqual([]);
});

test("a name that crashes more than 5 times in 10 s is refused for longer and longer, its neighbours are not", async () => {
  const { code, get, clock, start } = startHost({ faulty: ThrowsInFetch });
  for (let crash = 0; crash < 6; crash++) expect(await code("faulty/a", "/fault")).toBe("session_crashed");
  expect(() => start("faulty/a")).toThrow(expect.objectContaining({ code: "overloaded", retryAfterMs: 1_000 }));
  expect(await get("faulty/b")).toBe("1");
  await clock.advance(1_000);
  expect(await code("faulty/a", "/fault")).toBe("session_crashed");
  expect(() => start("faulty/a")).toThrow(expect.objectContaining({ code: "overloaded", retryAfterMs: 2_000 }));
  await clock.advance(2_000);
  expect(await get("faulty/a")).toBe("1");
});

test("a killed session tells its clients so, and what waits for the lease still goes on", async () => {
  const { host, send, start, connect, lease, get, ended } = startHost({ counter: Counter });
  const { client } = await connect("counter/victim");
  await get("counter/neighbour");
  const pending = codeOf(send(callTo("counter/victim", { path: "/wait" })));
  lease.close();
  const held = get("counter/neighbour");
  host.kill(start("counter/victim"), new MeshError("session_killed", "turn budget"));
  expect(await pending).toBe("session_killed");
  expect(client.closed?.code).toBe(1011);
  expect(ended).toMatchObject([{ reason: "killed" }]);
  lease.open();
  expect(await held).toBe("2");
});

test.each([
  ["as soon as it is created", 0],
  ["later", 5_000],
])("%s, a session runs in a context of its own, and in nothing of its caller's", async (_when, ageMs) => {
  const callers = new AsyncLocalStorage<string>();
  class Curious extends SessionServer {
    override async fetch(): Promise<Response> {
      const look = () => [host.running()?.key, callers.getStore()];
      const [before] = [look(), await settle()];
      return Response.json([before, look()]);
    }
  }
  const { host, get, start, clock } = startHost({ curious: Curious });
  callers.run("the caller's", () => start("curious/a"));
  await clock.advance(ageMs);
  const seen = callers.run("the caller's", () => Promise.all([get("curious/a"), get("curious/b")]));
  expect((await seen).map((text) => JSON.parse(text) as unknown)).toEqual(
    ["curious/a", "curious/b"].map((key) => [
      [key, null],
      [key, null],
    ]),
  );
});
