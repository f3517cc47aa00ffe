import { get, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { configFromEnv } from "../../../node/config.ts";
import { TrustedProxies, type ProxyHeaders } from "../../../node/gateway/trusted-proxies.ts";
import { edgeWith, reply } from "./fake-router.ts";

interface Asked {
  readonly status: number;
  readonly body: string;
}

interface SeenOptions {
  readonly trusted?: readonly string[];
  readonly kind?: ProxyHeaders;
  readonly path?: string;
}

const TRUSTED = ["127.0.0.1", "198.18.0.0/16", "2001:db8::/32"];

/** What a session sees of a request that came with these headers. */
async function seen(
  headers: Record<string, string | string[]>,
  { trusted = TRUSTED, kind = "x-forwarded", path = "/" }: SeenOptions = {},
): Promise<Asked> {
  const proxies = trusted.length === 0 ? undefined : new TrustedProxies(trusted, kind);
  await using edge = await edgeWith({ fetch: (call) => reply(`${call.ip} ${call.url}`) }, { proxies });
  const target = path === "/" ? "/sessions/counter/a" : path;
  const request = get({ port: edge.port, path: target, headers: { host: "inner", ...headers }, agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: (await text(response)).replace("/sessions/counter/a", "") };
}

describe("a gateway that trusts nobody", () => {
  it("takes what headers say for the client's own words", async () => {
    const headers = { "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https", forwarded: "for=192.0.2.1" };
    expect(await seen(headers, { trusted: [] })).toMatchObject({ body: "127.0.0.1 http://inner" });
    expect(await seen(headers, { trusted: ["198.18.0.0/16"] })).toMatchObject({ body: "127.0.0.1 http://inner" });
  });
});

describe("X-Forwarded-*", () => {
  const cases: readonly (readonly [string, Record<string, string | string[]>, string])[] = [
    ["nothing", {}, "127.0.0.1 http://inner"],
    ["a client", { "x-forwarded-for": "192.0.2.1" }, "192.0.2.1 http://inner"],
    ["a client and its port", { "x-forwarded-for": "192.0.2.1:4711" }, "192.0.2.1 http://inner"],
    ["an IPv6 client", { "x-forwarded-for": "[2001:dead::1]:4711" }, "2001:dead::1 http://inner"],
    ["an IPv4 client in IPv6", { "x-forwarded-for": "::ffff:192.0.2.1" }, "192.0.2.1 http://inner"],
    [
      "what a client made up, and the client",
      { "x-forwarded-for": "203.0.113.9, 192.0.2.1" },
      "192.0.2.1 http://inner",
    ],
    ["a client behind two proxies", { "x-forwarded-for": "192.0.2.1, 198.18.7.7" }, "192.0.2.1 http://inner"],
    ["the same in two headers", { "x-forwarded-for": ["192.0.2.1", "2001:db8::7"] }, "192.0.2.1 http://inner"],
    ["trusted addresses only", { "x-forwarded-for": "198.18.1.1, 198.18.7.7" }, "198.18.1.1 http://inner"],
    ["a client without address", { "x-forwarded-for": "unknown, 198.18.7.7" }, "198.18.7.7 http://inner"],
    ["https", { "x-forwarded-proto": "https" }, "127.0.0.1 https://inner"],
    [
      "HTTPS of the first of two proxies",
      { "x-forwarded-for": "192.0.2.1, 198.18.7.7", "x-forwarded-proto": "HTTPS, http" },
      "192.0.2.1 https://inner",
    ],
    [
      "https that a client made up",
      { "x-forwarded-for": "203.0.113.9, 192.0.2.1", "x-forwarded-proto": "https, http" },
      "192.0.2.1 http://inner",
    ],
    [
      "a host",
      { "x-forwarded-host": "shop.example:8443", "x-forwarded-proto": "https" },
      "127.0.0.1 https://shop.example:8443",
    ],
    [
      "Forwarded, which these proxies do not write",
      { forwarded: "for=192.0.2.1;proto=https" },
      "127.0.0.1 http://inner",
    ],
  ];
  it.each(cases)("tells %s", async (_, headers, body) => {
    expect(await seen(headers)).toEqual({ status: 200, body });
  });

  it("with a host that is none answers 400", async () => {
    expect(await seen({ "x-forwarded-host": "a b" })).toMatchObject({ status: 400 });
  });
});

describe("Forwarded", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["a client", "for=192.0.2.1", "192.0.2.1 http://inner"],
    ["an IPv6 client, quoted", 'For="[2001:dead::1]:4711";Proto=https;by=x', "2001:dead::1 https://inner"],
    [
      "a chain",
      "for=192.0.2.1;proto=https;host=shop.example, for=198.18.7.7;proto=http",
      "192.0.2.1 https://shop.example",
    ],
    ["what a client made up", 'for="203.0.113.9, for=203.0.113.8", for=192.0.2.1', "192.0.2.1 http://inner"],
    ["the client behind a quote that it left open", 'for="203.0.113.9, for=192.0.2.1', "192.0.2.1 http://inner"],
    ["a client that is hidden", "for=_hidden;proto=https", "127.0.0.1 https://inner"],
  ];
  it.each(cases)("tells %s", async (_, forwarded, body) => {
    expect(await seen({ forwarded, "x-forwarded-for": "203.0.113.1" }, { kind: "forwarded" })).toMatchObject({ body });
  });
});

describe("behind a proxy that speaks https", () => {
  const https = { "x-forwarded-proto": "https", "x-forwarded-host": "shop.example" };

  it("the front page and new sessions are at https and wss", async () => {
    expect((await seen({ ...https, accept: "text/plain" }, { path: "/?" })).body).toContain("wss://shop.example/");
    await using edge = await edgeWith({}, { proxies: new TrustedProxies(["127.0.0.1"], "x-forwarded") });
    const made = await fetch(`${edge.url}/sessions/counter`, { method: "POST", headers: https });
    expect(await made.json()).toMatchObject({ url: "https://shop.example/sessions/counter/q7Zk%2Fmade%20up" });
  });

  it("a target with a host of its own is at https, too", async () => {
    expect(await seen(https, { path: "http://other.example/sessions/counter/a" })).toMatchObject({
      body: "127.0.0.1 https://other.example",
    });
  });
});

describe("MESH_TRUSTED_PROXIES", () => {
  it.each(["nobody", "10.0.0.0/33", "10.0.0.0/8/1", "fd00::/129", "10.0.0.0/", "10.0.0"])("cannot be %s", (range) => {
    expect(() => configFromEnv({ MESH_TRUSTED_PROXIES: `127.0.0.1, ${range}` }, "app.ts")).toThrow(
      expect.objectContaining({ code: "bad_config", message: expect.stringContaining(`not "${range}"`) }),
    );
  });

  it("lists addresses and ranges", () => {
    const { trustedProxies } = configFromEnv({ MESH_TRUSTED_PROXIES: " 10.0.0.0/8,::1 , fd00::/8" }, "app.ts");
    expect(trustedProxies).toEqual(["10.0.0.0/8", "::1", "fd00::/8"]);
  });
});
