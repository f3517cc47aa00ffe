import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { MeshError, decodeClaims } from "#proto";
import type { SessionCall } from "#mesh";
import type { EdgeApplication } from "../../../node/gateway/gateway.ts";
import { HOOK_LIMIT_MS } from "../../../node/gateway/door.ts";
import type { KindHooks, Verdict, Visit } from "../../../node/session/admission.ts";
import { createStubs } from "../../../node/session/stub.ts";
import { visitor } from "../../../node/session/visiting.ts";
import { installWebClasses } from "../../../node/web/web.ts";
import { edgeWith, reply, type Edge } from "./fake-router.ts";

const originals = { Request: globalThis.Request, Response: globalThis.Response, fetch: globalThis.fetch };
beforeAll(() => installWebClasses());
afterAll(() => void Object.assign(globalThis, originals));

async function edgeOf(application: EdgeApplication): Promise<Edge> {
  const sessions = createStubs({
    kindOf: (kind) => (typeof kind === "string" ? kind : kind.name),
    callSession: (call) => edge.router.route(call),
    lease: { isOpen: () => true, whenOpen: async () => undefined },
  });
  const edge = await edgeWith(
    {
      fetch: (call) => reply(`${call.id.key} ${userOf(call)} ${call.ip}`),
      connect: (call, client) => ({
        status: "accepted",
        end: { message: () => client.send(userOf(call)), drained: () => undefined, closed: () => undefined },
      }),
    },
    { application, sessions },
  );
  return edge;
}

function userOf(call: SessionCall): string {
  return call.claims === undefined ? "nobody" : String(decodeClaims(call.claims)["user"]);
}

function hooks(of: Partial<KindHooks>): Pick<EdgeApplication, "hooksOf"> {
  return { hooksOf: () => ({ onBeforeRequest: undefined, onBeforeConnect: undefined, ...of }) };
}

/** What a handshake is answered with; 101 when it is accepted. */
async function handshake(edge: Edge, path: string): Promise<number> {
  const socket = new WebSocket(edge.url.replace("http", "ws") + path);
  const refused = once(socket, "unexpected-response").then(([, response]: { statusCode: number }[]) => {
    socket.on("error", () => undefined);
    socket.terminate();
    return response?.statusCode ?? 0;
  });
  const opened = once(socket, "open").then(() => {
    socket.close();
    return 101;
  });
  opened.catch(() => undefined);
  refused.catch(() => undefined);
  return Promise.race([opened, refused]);
}

describe("authorize", () => {
  it("sees kind and name as the session will have them, by whatever path and in whatever escapes they come", async () => {
    const seen: string[] = [];
    await using edge = await edgeOf({
      authorize: ({ kind, name, ip }) => {
        seen.push(`${kind}/${name} ${ip}`);
        return name !== "secret";
      },
    });
    const paths = [
      "/sessions/counter/secret",
      "/sessions/counter/%73ecret/history",
      "/parties/counter/secret",
      "/parties/counter/x/../secret?a=b",
      "/sessions/counter/./secret",
      "/sessions/counter/%2e/secret",
      "//sessions/counter/secret",
    ];
    const statuses = [];
    for (const path of paths) {
      // `fetch` would tidy the path up before it is sent.
      const [response] = (await once(get({ port: edge.port, path }), "response")) as [IncomingMessage];
      response.resume();
      statuses.push(response.statusCode);
    }
    expect(statuses).toEqual([403, 403, 403, 403, 403, 403, 404]);
    expect(edge.router.calls).toEqual([]);
    expect(new Set(seen)).toEqual(new Set(["counter/secret 127.0.0.1"]));

    for (const [path, name] of [
      ["/sessions/counter/a%2Fsecret", "a/secret"],
      ["/sessions/counter/secret%2e", "secret."],
      ["/sessions/counter/e%CC%81", "e\u0301"],
      ["/sessions/counter/%C3%A9", "\u00e9"],
      ["/sessions/counter/%2573ecret", "%73ecret"],
    ] as const) {
      expect(await (await fetch(edge.url + path)).text()).toBe(`counter/${name} nobody 127.0.0.1`);
      expect(seen.at(-1)).toBe(`counter/${name} 127.0.0.1`);
    }
  });

  it("sees the creation of a session, with the name that it would get, and a refusal makes none", async () => {
    const seen: Visit[] = [];
    await using edge = await edgeOf({
      authorize: (visit) => {
        seen.push(visit);
        return visit.request.headers.get("authorization") === "yes";
      },
    });
    const post = (headers: Record<string, string>) =>
      fetch(`${edge.url}/sessions/counter`, { method: "POST", headers });
    expect((await post({})).status).toBe(403);
    expect(edge.router.activated).toEqual([]);
    expect((await post({ authorization: "yes" })).status).toBe(201);
    expect(edge.router.activated).toEqual([expect.objectContaining({ kind: "counter", name: seen[1]?.name })]);
  });

  it("is asked by the application's own mesh.route, but not by its stubs, which pass claims on themselves", async () => {
    await using edge = await edgeOf({
      authorize: ({ ip }) => (ip === "127.0.0.1" ? { user: "routed" } : false),
      fetch: (request, mesh) =>
        new URL(request.url).pathname.startsWith("/stub")
          ? mesh.session("counter", "a", { claims: { user: "by hand" } }).fetch(request)
          : mesh.route(request),
    });
    expect(await (await fetch(`${edge.url}/sessions/counter/a`)).text()).toBe("counter/a routed 127.0.0.1");
    expect(await (await fetch(`${edge.url}/stub`)).text()).toBe("counter/a by hand 127.0.0.1");
  });

  const refusals: readonly (readonly [string, () => Verdict | Promise<Verdict>, number])[] = [
    ["a Response", () => new Response("log in", { status: 401, headers: { "www-authenticate": "Bearer" } }), 401],
    ["a redirect", () => Response.redirect("http://login.test/", 302), 302],
    ["a promise of a Response", async () => new Response(null, { status: 404 }), 404],
    ["false", () => false, 403],
    [
      "a thrown Response",
      () => {
        // oxlint-disable-next-line typescript/only-throw-error
        throw new Response(null, { status: 451 });
      },
      451,
    ],
    [
      "a MeshError",
      () => {
        throw new MeshError("overloaded", "later");
      },
      503,
    ],
    [
      "an error",
      () => {
        throw new TypeError("private");
      },
      500,
    ],
    ["a rejection", () => Promise.reject(new TypeError("private")), 500],
    ["null", () => null as never, 500],
    ["a string", () => "yes" as never, 500],
    ["a list", () => [] as never, 500],
    ["an object of a class that is no Response of ours", () => new Map() as never, 500],
    ["claims that are too large", () => ({ text: "x".repeat(20_000) }), 500],
    ["claims with a function", () => ({ check: () => true }), 500],
  ];
  it.each(refusals)("that gives %s lets nobody in", async (_, verdict, status) => {
    await using edge = await edgeOf({ authorize: verdict });
    const response = await fetch(`${edge.url}/sessions/counter/a`, { redirect: "manual" });
    expect(response.status).toBe(status);
    expect(await response.text()).not.toContain("private");
    expect(await handshake(edge, "/sessions/chat/a")).toBe(status);
    expect(edge.router.calls).toEqual([]);
    expect(edge.logged.length > 0).toBe(status === 500);
  });

  it("that never settles is not waited for", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const asked = Promise.withResolvers<Request>();
      await using edge = await edgeOf({
        authorize: ({ request }) => {
          void request.signal;
          asked.resolve(request);
          return new Promise(() => undefined);
        },
      });
      const answer = fetch(`${edge.url}/sessions/counter/a`);
      const request = await asked.promise;
      vi.advanceTimersByTime(HOOK_LIMIT_MS);
      expect((await answer).status).toBe(504);
      expect(request.signal.aborted).toBe(true);
      expect(edge.router.calls).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("leaves the body to the session", async () => {
    await using edge = await edgeOf({
      authorize: async ({ request }) => ({ user: (await request.text()) === "" ? "empty" : "read" }),
    });
    const response = await fetch(`${edge.url}/sessions/counter/a`, { method: "POST", body: "x".repeat(100_000) });
    expect(await response.text()).toBe("counter/a empty 127.0.0.1");
    expect(edge.router.calls[0]?.body).toBeInstanceOf(ReadableStream);
  });

  it("runs on behalf of its client, which tells its stray errors from ours", async () => {
    let ip: string | undefined;
    await using edge = await edgeOf({
      authorize: async () => {
        await Promise.resolve();
        ip = visitor()?.ip;
      },
    });
    await fetch(`${edge.url}/sessions/counter/a`);
    expect([ip, visitor()]).toEqual(["127.0.0.1", undefined]);
  });
});

describe("the hooks of a class", () => {
  it("judge requests and sockets apart, after authorize, whose claims they see and may replace", async () => {
    const seen: unknown[] = [];
    await using edge = await edgeOf({
      authorize: () => ({ user: "ada" }),
      ...hooks({
        onBeforeRequest: (_, { kind, name, ip, claims }) => void seen.push([kind, name, ip, claims]),
        onBeforeConnect: (_, { claims }) => ({ user: `${String(claims?.["user"])} on a socket` }),
      }),
    });
    expect(await (await fetch(`${edge.url}/sessions/counter/a`)).text()).toBe("counter/a ada 127.0.0.1");
    expect(seen).toEqual([["counter", "a", "127.0.0.1", { user: "ada" }]]);
    const socket = new WebSocket(`${edge.url.replace("http", "ws")}/parties/chat/a`);
    await once(socket, "open");
    socket.send("who am I?");
    expect(String((await once(socket, "message"))[0])).toBe("ada on a socket");
    socket.close();
  });

  it("may give a Request back, whose headers the session gets", async () => {
    await using edge = await edgeOf(
      hooks({
        onBeforeRequest: (request) => {
          request.headers.set("x-user", "ada");
          return request;
        },
        onBeforeConnect: (request) => new Request(request, { headers: { "x-user": "bob" } }),
      }),
    );
    await fetch(`${edge.url}/sessions/counter/a`, { headers: { "x-user": "forged", "x-other": "1" } });
    const { headers } = edge.router.calls[0]!;
    expect(headers.filter((_, at) => headers[at - 1] === "x-user" || headers[at - 1] === "x-other")).toEqual(
      expect.arrayContaining(["ada", "1"]),
    );
    expect(headers).not.toContain("forged");
  });
});
