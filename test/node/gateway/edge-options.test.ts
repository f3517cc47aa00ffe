import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { WebSocket, type ClientOptions } from "ws";
import type { ConnectReply, SessionCall } from "#mesh";
import { configFromEnv, allowedOriginsOf } from "../../../node/config.ts";
import { networkOf, RateLimit } from "../../../node/gateway/rate-limit.ts";
import type { ProtocolChoice } from "../../../node/session/admission.ts";
import { defineMesh, SessionServer } from "../../../node/sessionmesh.ts";
import type { EdgeOptions } from "../../../node/session/edge-options.ts";
import { edgeWith, reply, type Edge, type FakeSessions } from "./fake-router.ts";

class Room extends SessionServer {}

async function edgeOf(options: EdgeOptions, more: { env?: string; sessions?: FakeSessions } = {}): Promise<Edge> {
  const application = defineMesh({ sessions: { counter: Room }, ...options });
  const allowedOrigins = allowedOriginsOf(configFromEnv({ MESH_ALLOWED_ORIGINS: more.env }, "app.ts"));
  const sessions = { fetch: () => reply("ok", { headers: ["vary", "accept"] }), connect: accept, ...more.sessions };
  return edgeWith(sessions, { application: { edge: application.edge }, allowedOrigins });
}

function accept(call: SessionCall): ConnectReply {
  protocols.push(call.protocol);
  return { status: "accepted", end: { message: () => undefined, drained: () => undefined, closed: () => undefined } };
}

let protocols: string[] = [];

/** The status of a handshake; 101 when it is accepted. */
async function handshake(edge: Edge, options: ClientOptions): Promise<number> {
  const socket = new WebSocket(`${edge.url.replace("http", "ws")}/sessions/chat/a`, options);
  socket.on("error", () => undefined);
  const status = new Promise<number>((resolve) => {
    socket.once("open", () => resolve(101));
    socket.once("unexpected-response", (_, response: IncomingMessage) => resolve(response.statusCode ?? 0));
  });
  return status.finally(() => socket.terminate());
}

describe("origins", () => {
  it("decide which pages may open WebSockets; other clients send no origin", async () => {
    await using edge = await edgeOf({ origins: ["https://app.example", "https://*.example.org:8443", "self"] });
    const of = (origin: string): Promise<number> => handshake(edge, { headers: { origin } });
    expect(await of("https://app.example")).toBe(101);
    expect(await of("https://a.b.example.org:8443")).toBe(101);
    expect(await of(edge.url)).toBe(101);
    expect(await handshake(edge, {})).toBe(101);
    for (const other of [
      "http://app.example",
      "https://app.example.evil",
      "https://example.org:8443",
      "null",
      "https://.example.org",
    ]) {
      expect(await of(other), other).toBe(403);
    }
  });

  it("of MESH_ALLOWED_ORIGINS take the place of the application's", async () => {
    await using edge = await edgeOf({ origins: ["https://app.example"] }, { env: "https://other.example" });
    expect(await handshake(edge, { headers: { origin: "https://other.example" } })).toBe(101);
    expect(await handshake(edge, { headers: { origin: "https://app.example" } })).toBe(403);
    expect(() => configFromEnv({ MESH_ALLOWED_ORIGINS: "app.example" }, "app.ts")).toThrow(
      expect.objectContaining({ code: "bad_config", message: expect.stringContaining(`not "app.example"`) }),
    );
  });
});

describe("cors", () => {
  const preflight = (edge: Edge, origin: string): Promise<Response> =>
    fetch(`${edge.url}/sessions/counter/a`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "PUT", "access-control-request-headers": "x-a" },
    });

  it("answers a preflight before anybody is asked, and marks every answer", async () => {
    const origins = ["https://app.example"];
    await using edge = await edgeOf({ cors: { origins, credentials: true, exposeHeaders: ["x-b"], methods: ["PUT"] } });
    const asked = await preflight(edge, "https://app.example");
    expect(asked.status).toBe(204);
    expect(Object.fromEntries(asked.headers)).toMatchObject({
      "access-control-allow-origin": "https://app.example",
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "PUT",
      "access-control-allow-headers": "x-a",
      "access-control-max-age": "600",
    });
    expect(edge.router.calls).toEqual([]);
    const get = (path: string, origin: string) => fetch(edge.url + path, { headers: { origin } });
    const answer = await get("/sessions/counter/a", "https://app.example");
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(answer.headers.get("access-control-expose-headers")).toBe("x-b");
    expect(answer.headers.get("vary")).toBe("accept, origin");
    // A page must be able to read what went wrong.
    const missing = await get("/nope", "https://app.example");
    expect([missing.status, missing.headers.get("access-control-allow-origin")]).toEqual([404, "https://app.example"]);
  });

  it("tells pages of other sites nothing", async () => {
    await using edge = await edgeOf({ cors: { origins: ["https://app.example"] } });
    for (const answer of [
      await preflight(edge, "https://evil.example"),
      await fetch(`${edge.url}/sessions/counter/a`, { headers: { origin: "https://evil.example" } }),
    ]) {
      expect(answer.headers.get("access-control-allow-origin")).toBeNull();
      expect(answer.headers.get("vary")).toContain("origin");
    }
  });

  it("leaves an answer alone that says for itself who may read it, and an OPTIONS that is no preflight", async () => {
    const own = { headers: ["Access-Control-Allow-Origin", "https://mine.example"] };
    await using edge = await edgeOf({ cors: true }, { sessions: { fetch: () => reply("ok", own) } });
    const answer = await fetch(`${edge.url}/sessions/counter/a`, { method: "OPTIONS" });
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://mine.example");
    expect(edge.router.calls).toHaveLength(1);
  });
});

describe("rates", () => {
  it("of an address and of a session answer 429 with the time to wait, also to handshakes; health checks are free", async () => {
    await using edge = await edgeOf({
      rates: { perAddress: { perSecond: 0.01, burst: 4 }, perSession: { perSecond: 0.02, burst: 2 } },
    });
    const ask = async (name: string) => (await fetch(`${edge.url}/sessions/counter/${name}`)).status;
    expect([await ask("a"), await ask("a"), await ask("a"), await ask("b")]).toEqual([200, 200, 429, 200]);
    const refused = await fetch(`${edge.url}/sessions/counter/c`);
    expect(await refused.json()).toMatchObject({ code: "too_many_requests", retryable: true });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(90);
    expect(await handshake(edge, {})).toBe(429);
    expect((await fetch(`${edge.url}/_mesh/health`)).status).toBe(200);
    expect(edge.router.calls).toHaveLength(3);
  });

  it("fill a bucket with time, and refusing takes nothing out of it", () => {
    let nowMs = 0;
    const limit = new RateLimit({ perSecond: 10, burst: 3 }, "", () => nowMs);
    const take = (count: number): number => {
      let taken = 0;
      for (let left = count; left > 0; left--) {
        try {
          limit.take("a");
          taken++;
        } catch (error) {
          expect(error).toMatchObject({ retryAfterMs: expect.closeTo(100, 3) });
        }
      }
      return taken;
    };
    expect(take(10)).toBe(3);
    nowMs = 100;
    expect(take(10)).toBe(1);
    nowMs = 10_000;
    expect(take(10)).toBe(3);
  });

  it("count a whole IPv6 network as one client", () => {
    expect(networkOf("192.0.2.1")).toBe("192.0.2.1");
    expect(networkOf("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2");
    expect(networkOf("2001:db8::1")).toBe("2001:db8:0:0");
    expect(networkOf("::1")).toBe("0:0:0:0");
    expect(networkOf("fe80::1:2:3:4:5")).toBe("fe80:0:0:1");
  });
});

describe("sub-protocols", () => {
  async function spoken(choice: ProtocolChoice | undefined, offered: string[]): Promise<string> {
    protocols = [];
    const hooks = { onBeforeRequest: undefined, onBeforeConnect: undefined, protocols: choice };
    await using edge = await edgeWith({ connect: accept }, { application: { hooksOf: () => hooks } });
    const socket = new WebSocket(`${edge.url.replace("http", "ws")}/sessions/chat/a`, offered);
    socket.on("error", () => undefined);
    const [response] = (await once(socket, "upgrade").catch(() => [undefined])) as [IncomingMessage | undefined];
    socket.terminate();
    const answered = response?.headers["sec-websocket-protocol"] ?? "";
    if (response !== undefined) expect(protocols).toEqual([answered]);
    return response === undefined ? "refused" : answered;
  }

  it("are what the class likes best of what the client offers", async () => {
    expect(await spoken(["v2", "v1"], ["v1", "v2", "v3"])).toBe("v2");
    expect(await spoken((offered) => offered.find((one) => one.startsWith("token.")), ["v1", "token.x"])).toBe(
      "token.x",
    );
  });

  it("are none where the class names none or nothing matches, and the handshake goes on", async () => {
    expect(await spoken(undefined, ["v1"])).toBe("");
    expect(await spoken(["v2"], ["v1"])).toBe("");
    expect(await spoken(() => undefined, ["v1"])).toBe("");
    expect(await spoken(["v2"], [])).toBe("");
  });

  it("that were not offered, or a choice that throws, refuse the socket", async () => {
    expect(await spoken(() => "v9", ["v1"])).toBe("refused");
    expect(
      await spoken(() => {
        throw new TypeError("no");
      }, ["v1"]),
    ).toBe("refused");
  });
});

describe("compression", () => {
  it("is agreed on where the class wants it, keeps the order of messages, and bounds what comes out", async () => {
    const received: string[] = [];
    const large = "large ".repeat(5_000);
    const sent = ["small", large, "small again", large, "end"];
    await using edge = await edgeWith({
      limits: { compress: true, maxMessageBytes: 64 * 1024 },
      connect: (_, client) => ({
        status: "accepted",
        end: {
          message: (data) => {
            received.push(String(data));
            for (const text of sent) client.send(text);
          },
          drained: () => undefined,
          closed: (code) => void received.push(`closed ${code}`),
        },
      }),
    });
    const socket = new WebSocket(`${edge.url.replace("http", "ws")}/sessions/chat/a`);
    await once(socket, "open");
    expect(socket.extensions).toContain("permessage-deflate");
    const heard: string[] = [];
    const all = new Promise<void>((resolve) =>
      socket.on("message", (data: Buffer) => {
        heard.push(data.toString());
        if (heard.length === sent.length) resolve();
      }),
    );
    socket.send(large);
    await all;
    expect(heard).toEqual(sent);
    expect(received).toEqual([large]);
    // A bomb: a hundred kilobytes of nothing.
    socket.send("x".repeat(100_000));
    expect((await once(socket, "close"))[0]).toBe(1009);
  });

  it("is not offered otherwise", async () => {
    await using edge = await edgeWith({ connect: accept });
    const socket = new WebSocket(`${edge.url.replace("http", "ws")}/sessions/chat/a`);
    await once(socket, "open");
    expect(socket.extensions).toBe("");
    socket.terminate();
  });
});

describe("options that cannot be", () => {
  it.each<[string, object, string]>([
    ["an origin with a path", { origins: ["https://a.example/x"] }, "origins lists origins"],
    ["origins that are no list", { origins: "https://a.example" }, "origins must be a list"],
    ["credentials for everybody", { cors: { origins: "*", credentials: true } }, "cors.credentials needs a list"],
    ["an unknown option", { cors: { origin: "*" } }, 'cors has no "origin"'],
    ["a method that is none", { cors: { origins: "*", methods: ["GET,PUT"] } }, "cors.methods must list names"],
    ["a rate of nothing", { rates: { perAddress: { perSecond: 0 } } }, "perSecond must be a number above 0"],
    [
      "a burst of nothing",
      { rates: { perSession: { perSecond: 1, burst: 0.5 } } },
      "burst must be a number, 1 or more",
    ],
    ["an unknown rate", { rates: { perUser: { perSecond: 1 } } }, 'rates has no "perUser"'],
  ])("are refused at start: %s", (_, options, message) => {
    expect(() => defineMesh({ sessions: { room: Room }, ...options })).toThrow(
      expect.objectContaining({ code: "bad_app", message: expect.stringContaining(message) }),
    );
  });

  it("so are sub-protocols that are no names", () => {
    class Odd extends Room {
      static readonly protocols = ["a b"];
    }
    expect(() => defineMesh({ sessions: { odd: Odd } })).toThrow("Odd.protocols must list names");
  });
});
