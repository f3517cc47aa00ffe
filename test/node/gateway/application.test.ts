import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { once } from "node:events";
import { WebSocket } from "ws";
import { MeshError } from "#proto";
import type { SessionCall } from "#mesh";
import type { ApplicationMesh } from "../../../node/session/application.ts";
import { createStubs } from "../../../node/session/stub.ts";
import { installWebClasses } from "../../../node/web/web.ts";
import { edgeWith, reply, type Edge, type FakeSessions } from "./fake-router.ts";

const originals = { Request: globalThis.Request, Response: globalThis.Response, fetch: globalThis.fetch };
beforeAll(() => installWebClasses());
afterAll(() => void Object.assign(globalThis, originals));

type AppFetch = (request: Request, mesh: ApplicationMesh) => unknown;

async function edgeOf(fetch: AppFetch, sessions: FakeSessions = {}): Promise<Edge> {
  const stubs = createStubs({
    kindOf: (kind) => (typeof kind === "string" ? kind : kind.name),
    callSession: (call) => edge.router.route(call),
    lease: { isOpen: () => true, whenOpen: async () => undefined },
  });
  const edge = await edgeWith(sessions, { application: { fetch }, sessions: stubs });
  return edge;
}

const echo = async (call: SessionCall) =>
  reply(`${call.method} ${call.id.key} ${call.body === null ? "-" : await new Response(call.body as BodyInit).text()}`);

const accepting: Pick<FakeSessions, "connect"> = {
  connect: (call, client) => ({
    status: "accepted",
    end: { message: () => client.send(call.id.key), drained: () => undefined, closed: () => undefined },
  }),
};

describe("an application with its own fetch", () => {
  it("sees every request but health checks", async () => {
    const seen: string[] = [];
    await using edge = await edgeOf((request) => {
      seen.push(`${request.method} ${new URL(request.url).pathname}`);
      return new Response("mine");
    });
    for (const path of ["/", "/sessions/counter/a", "/nope"]) {
      expect(await (await fetch(edge.url + path)).text()).toBe("mine");
    }
    expect(await (await fetch(`${edge.url}/_mesh/health`)).json()).toEqual({ status: "ok" });
    expect(seen).toEqual(["GET /", "GET /sessions/counter/a", "GET /nope"]);
  });

  it("hands requests with their bodies to sessions through stubs", async () => {
    await using edge = await edgeOf((request, mesh) => mesh.session("counter", "picked").fetch(request), {
      fetch: echo,
    });
    const response = await fetch(`${edge.url}/anything`, { method: "POST", body: "body" });
    expect(await response.text()).toBe("POST counter/picked body");
  });

  it("hands requests to the built-in routing, whose errors are Responses", async () => {
    await using edge = await edgeOf(
      async (request, mesh) => {
        const response = await mesh.route(request);
        response.headers.set("x-through", "app");
        return response;
      },
      { fetch: echo },
    );
    const response = await fetch(`${edge.url}/sessions/counter/a`, { method: "PUT", body: "b" });
    expect([response.headers.get("x-through"), await response.text()]).toEqual(["app", "PUT counter/a b"]);
    const missing = await fetch(`${edge.url}/nope`);
    expect([missing.status, missing.headers.get("x-through")]).toEqual([404, "app"]);
    expect((await fetch(`${edge.url}/sessions/counter`, { method: "POST" })).status).toBe(201);
  });

  it("that throws is logged and answered with 500; a MeshError is answered as it is", async () => {
    let thrown: unknown = new TypeError("secret");
    await using edge = await edgeOf(() => {
      throw thrown;
    });
    const failed = await fetch(edge.url);
    expect([failed.status, (await failed.text()).includes("secret")]).toEqual([500, false]);
    expect(edge.logged.join()).toContain("secret");
    thrown = new MeshError("forbidden", "not you");
    expect((await fetch(edge.url)).status).toBe(403);
  });

  it("answers with the Response that it throws", async () => {
    await using edge = await edgeOf(async (request) => {
      await request.text();
      // oxlint-disable-next-line typescript/only-throw-error -- a Response may be
      throw new Response("sign in", { status: 401, headers: { "www-authenticate": "Basic" } });
    });
    const response = await fetch(`${edge.url}/x`);
    expect([response.status, response.headers.get("www-authenticate")]).toEqual([401, "Basic"]);
    expect(await response.text()).toBe("sign in");
    expect(edge.logged).toEqual([]);
    const refused = new WebSocket(`ws://127.0.0.1:${edge.port}/sessions/chat/a`);
    const [, answer] = (await once(refused, "unexpected-response")) as [unknown, { statusCode: number }];
    expect(answer.statusCode).toBe(401);
    refused.on("error", () => {}).terminate();
  });

  it("that returns no Response is told so", async () => {
    await using edge = await edgeOf(() => undefined);
    expect(await (await fetch(edge.url)).json()).toMatchObject({
      detail: "fetch() of the application must return a Response; it returned undefined",
    });
  });

  it("sees its signal aborted when the client goes, and so does the session that it asked", async () => {
    const called = Promise.withResolvers<SessionCall>();
    const aborted = Promise.withResolvers<void>();
    await using edge = await edgeOf(
      (request, mesh) => {
        request.signal.addEventListener("abort", () => aborted.resolve());
        return mesh.route(request);
      },
      {
        fetch: (call) => {
          called.resolve(call);
          return new Promise(() => undefined);
        },
      },
    );
    const controller = new AbortController();
    const response = fetch(`${edge.url}/sessions/counter/a`, { signal: controller.signal });
    response.catch(() => undefined);
    const call = await called.promise;
    controller.abort();
    await aborted.promise;
    await vi.waitFor(() => expect(call.cancelled).toMatchObject({ code: "cancelled" }));
  });

  it("needs stubs", async () => {
    await expect(edgeWith({}, { application: { fetch: () => new Response() } })).rejects.toMatchObject({
      code: "bad_config",
    });
  });
});

describe("a WebSocket through an application's fetch", () => {
  const routes: Record<string, AppFetch> = {
    "a stub": (request, mesh) => mesh.session("chat", "lobby").fetch(request),
    "mesh.route": (request, mesh) => mesh.route(request),
  };
  for (const [name, route] of Object.entries(routes)) {
    it(`connects to the session that ${name} names`, async () => {
      await using edge = await edgeOf(route, accepting);
      const socket = new WebSocket(`ws://127.0.0.1:${edge.port}/sessions/chat/lobby`);
      await once(socket, "open");
      socket.send("where am I?");
      expect(String((await once(socket, "message"))[0])).toBe("chat/lobby");
      socket.close();
    });
  }

  it("is refused with whatever Response the application gives instead", async () => {
    await using edge = await edgeOf(
      (request) => new Response(request.headers.get("upgrade"), { status: 401 }),
      accepting,
    );
    const [, response] = await once(new WebSocket(`ws://127.0.0.1:${edge.port}/x`), "unexpected-response");
    expect([response.statusCode, String((await once(response, "data"))[0])]).toEqual([401, "websocket"]);
  });

  it("is refused when the routing finds nothing", async () => {
    await using edge = await edgeOf((request, mesh) => mesh.route(request), accepting);
    const [, response] = await once(new WebSocket(`ws://127.0.0.1:${edge.port}/x`), "unexpected-response");
    expect(response.statusCode).toBe(404);
  });
});
