import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { SessionCall } from "#mesh";
import { parseSessionId } from "#proto";
import { acceptedCallOf, acceptUpgrade, installWebClasses, replyOf, responseOf } from "../../../node/web/web.ts";

const Native = globalThis.Response;
const originals = { Request: globalThis.Request, Response: globalThis.Response, fetch: globalThis.fetch };
beforeAll(() => installWebClasses());
afterAll(() => void Object.assign(globalThis, originals));

/** What an application can see of a Response, or the error that making it threw. */
async function seen(make: (R: typeof Response) => Response, R: typeof Response): Promise<unknown> {
  let response: Response;
  try {
    response = make(R);
  } catch (error) {
    return { thrown: String(error) };
  }
  const { status, ok, statusText, type, url, redirected, bodyUsed } = response;
  const text = await response.clone().text();
  const again = await response.text();
  const second = await response.text().then(String, (error: unknown) => (error as Error).name);
  const headers = [...response.headers];
  return {
    status,
    ok,
    statusText,
    type,
    url,
    redirected,
    bodyUsed,
    text,
    again,
    second,
    headers,
    used: response.bodyUsed,
  };
}

const lookalikes: Record<string, (R: typeof Response) => Response> = {
  empty: (R) => new R(),
  null: (R) => new R(null, { status: 404 }),
  text: (R) => new R("hellö"),
  "lone surrogate": (R) => new R("\ud800"),
  bytes: (R) => new R(new Uint8Array([104, 105])),
  "array buffer": (R) => new R(new TextEncoder().encode("ab").buffer),
  blob: (R) => new R(new Blob(["b"], { type: "text/css" })),
  "search params": (R) => new R(new URLSearchParams({ a: "1" })),
  stream: (R) => new R(new Blob(["s"]).stream()),
  json: (R) => R.json({ a: [1, null] }),
  "json with type": (R) => R.json(1, { status: 201, headers: { "Content-Type": "application/vnd.x" } }),
  "json of nothing": (R) => R.json(undefined),
  "json circle": (R) => {
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    return R.json(circle);
  },
  redirect: (R) => R.redirect("http://a.test/", 303),
  "bad redirect": (R) => R.redirect("http://a.test/", 200),
  "status 99": (R) => new R("", { status: 99 }),
  "status 600": (R) => new R("", { status: 600 }),
  "status 101": (R) => new R(null, { status: 101 }),
  "status 204 with body": (R) => new R("", { status: 204 }),
  "status 204": (R) => new R(null, { status: 204 }),
  "status text": (R) => new R("x", { status: 418, statusText: "I'm a teapot" }),
  "bad status text": (R) => new R("x", { statusText: "a\nb" }),
  "header object": (R) => new R("x", { headers: { "X-B": "2", "X-A": "1" } }),
  "header pairs": (R) =>
    new R("x", {
      headers: [
        ["a", "1"],
        ["a", "2"],
      ],
    }),
  "header map": (R) => new R("x", { headers: new Headers({ "content-type": "text/html" }) }),
  "header case": (R) => new R("x", { headers: { A: "1", a: "2" } }),
  "untrimmed header": (R) => new R("x", { headers: { a: " 1 " } }),
  "bad header name": (R) => new R("x", { headers: { "a b": "1" } }),
  "bad header value": (R) => new R("x", { headers: { a: "1\n2" } }),
  "wide header value": (R) => new R("x", { headers: { a: "\u20ac" } }),
  "deleted type": (R) => {
    const response = new R("x");
    response.headers.delete("content-type");
    return response;
  },
  "changed headers": (R) => {
    const response = R.json({});
    response.headers.append("set-cookie", "a=1");
    response.headers.append("set-cookie", "b=2");
    return response;
  },
};

describe("a light response", () => {
  it("asks a caller's init for its parts once, and leaves what it cannot take to the native class", () => {
    const asked: string[] = [];
    const init = {
      get status(): number {
        asked.push("status");
        return 201;
      },
    };
    expect([new Response("x", init).status, asked]).toEqual([201, ["status"]]);
    expect(new Response("x", null as unknown as ResponseInit).status).toBe(200);
    expect(() => new Response("x", 5 as unknown as ResponseInit)).toThrow(TypeError);
  });

  for (const [name, make] of Object.entries(lookalikes)) {
    it(`behaves like the native one: ${name}`, async () => {
      expect(await seen(make, Response)).toEqual(await seen(make, Native));
    });
  }

  it("is an instance both ways, and so are native ones", () => {
    expect(new Response() instanceof Native).toBe(true);
    expect(new Native() instanceof Response).toBe(true);
    expect({} instanceof Response).toBe(false);
    expect([Response.name, Object.keys(new Response("a"))]).toEqual(["Response", []]);
  });

  it("can be subclassed", async () => {
    class Page extends Response {
      title = "t";
    }
    const page = new Page("x");
    expect([page instanceof Page, page instanceof Response, new Response() instanceof Page]).toEqual([
      true,
      true,
      false,
    ]);
    expect([page.title, await page.text()]).toEqual(["t", "x"]);
  });

  it("does not change with the bytes or headers that it was made from", async () => {
    const bytes = new TextEncoder().encode("abc");
    const headers = new Headers({ a: "1" });
    const response = new Response(bytes, { headers });
    bytes.fill(0);
    headers.set("a", "2");
    expect([response.headers.get("a"), await response.text()]).toEqual(["1", "abc"]);
  });

  it("keeps header changes made after a clone", () => {
    const response = new Response("x");
    const { headers } = response;
    response.clone();
    headers.set("x-late", "1");
    headers.delete("content-type");
    expect([...response.clone().headers]).toEqual([["x-late", "1"]]);
    expect(replyOf(response).headers).toContain("x-late");
  });
});

describe("replyOf", () => {
  it("sends light responses as the strings and bytes that they are", () => {
    expect(replyOf(Response.json({ count: 1 }))).toEqual({
      status: 200,
      statusText: "",
      headers: ["content-type", "application/json"],
      body: '{"count":1}',
    });
    expect(replyOf(new Response(new Uint8Array([1]))).body).toEqual(new Uint8Array([1]));
    expect(replyOf(new Response(null, { status: 204 })).body).toBe(null);
  });

  it("keeps each set-cookie on its own", () => {
    const response = Response.json(0);
    response.headers.append("set-cookie", "a=1");
    response.headers.append("set-cookie", "b=2");
    const cookies = ["set-cookie", "a=1", "set-cookie", "b=2"];
    expect(replyOf(response).headers.slice(-4)).toEqual(cookies);
    response.clone();
    expect(replyOf(response).headers.slice(-4)).toEqual(cookies);
  });

  it("streams native responses", async () => {
    const { body } = replyOf(new Native("native"));
    expect(body).toBeInstanceOf(ReadableStream);
  });

  it("sends an answer of fetch that was packed as what it was unpacked to", async () => {
    const packed = gzipSync("unpacked");
    const server = createServer((request, outgoing) => {
      const coding = request.url === "/odd" ? "odd" : "gzip";
      outgoing.writeHead(200, { "content-encoding": coding, "content-length": packed.byteLength, etag: "1" });
      outgoing.end(request.method === "HEAD" ? undefined : packed);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const sent = async (response: Response): Promise<unknown> => {
      const { headers, body } = replyOf(response);
      const names = headers.filter((_, at) => at % 2 === 0);
      return [
        names.includes("content-encoding"),
        names.includes("content-length"),
        names.includes("etag"),
        await new Native(body as BodyInit).text(),
      ];
    };
    const answer = await fetch(origin);
    const again = await fetch(origin);
    const unpacked = [false, false, true, "unpacked"];
    expect(await sent((await fetch(origin)).clone())).toEqual(unpacked);
    expect(await sent(answer)).toEqual(unpacked);
    expect(await sent(new Response(again.body, again))).toEqual(unpacked);
    // What nobody unpacked is sent as it is: another coding, no body, bytes that the application packed.
    expect(await sent(await fetch(`${origin}/odd`))).toEqual([true, true, true, expect.any(String)]);
    expect(await sent(await fetch(origin, { method: "HEAD" }))).toEqual([true, true, true, ""]);
    const own = new Response(new Blob([packed]).stream(), { headers: { "content-encoding": "gzip" } });
    expect(await sent(own)).toEqual([true, false, false, expect.any(String)]);
    server.closeAllConnections();
    server.close();
  });

  it("says what came instead of a Response, and from where", () => {
    const reason = (value: unknown): unknown => {
      try {
        return replyOf(value, "counter");
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(reason(undefined)).toBe("fetch() of counter must return a Response; it returned undefined");
    expect(reason({ a: 1 })).toBe("fetch() of counter must return a Response; it returned a plain object");
    expect(reason(new Map())).toBe("fetch() of counter must return a Response; it returned a value of Map");
    expect(reason(Response.error())).toContain("status 0");
    expect(() => replyOf(1)).toThrow(expect.objectContaining({ code: "handler_failed" }));
  });

  it("refuses a response whose body was read", async () => {
    for (const response of [new Response("x"), new Native("x")]) {
      await response.text();
      expect(() => replyOf(response)).toThrow(/read already/);
    }
  });
});

describe("responseOf", () => {
  const reply = { status: 200, statusText: "", headers: ["X-A", "1", "Connection", "close"], body: "text" };

  it("is a Response with the reply's own headers and no others", async () => {
    const response = responseOf(reply);
    expect([[...response.headers], await response.text()]).toEqual([[["x-a", "1"]], "text"]);
    expect([...responseOf(reply).clone().headers]).toEqual([["x-a", "1"]]);
  });

  it("streams what is streamed, and has no body where the status allows none", async () => {
    const response = responseOf({ ...reply, body: new Blob(["s"]).stream() });
    expect([response.headers.get("x-a"), await response.text()]).toEqual(["1", "s"]);
    expect(responseOf({ ...reply, status: 204, body: "" }).body).toBe(null);
  });
});

describe("acceptUpgrade", () => {
  it("makes an opaque 101 that only names its call", () => {
    const id = parseSessionId("chat", "lobby");
    const call = new SessionCall({ id, method: "GET", url: "http://a/", headers: [], timeoutMs: 1 });
    const response = acceptUpgrade(call);
    expect([response.status, response.ok, response.body, response instanceof Response]).toEqual([
      101,
      false,
      null,
      true,
    ]);
    expect(acceptedCallOf(response)).toBe(call);
    expect(acceptedCallOf(new Response())).toBe(undefined);
    expect(() => response.clone()).toThrow(TypeError);
    expect(() => replyOf(response)).toThrow(/status 101/);
  });
});
