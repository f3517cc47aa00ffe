import { describe, expect, it } from "vitest";
import { request as httpRequest } from "node:http";
import { edgeWith, reply, type Edge } from "./fake-router.ts";

const echo = { fetch: (call: { id: { key: string }; url: string }) => reply(`${call.id.key} ${call.url}`) };

/** `fetch` would rewrite the path before it is sent. */
function getRaw(
  edge: Edge,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    httpRequest({ port: edge.port, host: "127.0.0.1", path, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on("error", reject)
      .end();
  });
}

describe("paths of sessions", () => {
  it("take kind and name, and anything below belongs to the session", async () => {
    await using edge = await edgeWith(echo);
    for (const prefix of ["sessions", "parties"]) {
      const path = `/${prefix}/counter/alice/deep/er?x=1`;
      expect(await (await fetch(edge.url + path)).text()).toBe(`counter/alice ${edge.url}${path}`);
      expect(await (await fetch(`${edge.url}/${prefix}/chat/lobby?x=/a/b`)).text()).toContain("chat/lobby ");
    }
  });

  it("decode names, slashes too", async () => {
    await using edge = await edgeWith(echo);
    const texts = await Promise.all(
      ["h%C3%A9", "a%20b", "a%2Fb", "a+b"].map(
        async (name) => (await getRaw(edge, `/sessions/counter/${name}/x`)).body.split(" h")[0],
      ),
    );
    expect(texts).toEqual(["counter/hé", "counter/a b", "counter/a/b", "counter/a+b"]);
  });

  it("are refused with bad_name when the name is no text or not allowed", async () => {
    await using edge = await edgeWith(echo);
    for (const name of ["%ff", "%zz", "%", "a%00b", "x".repeat(300)]) {
      const { status, body } = await getRaw(edge, `/sessions/counter/${name}`);
      expect([status, JSON.parse(body).code]).toEqual([400, "bad_name"]);
    }
    for (const path of ["/sessions/counter//", "/sessions/counter//x", "/sessions/counter//?x"]) {
      const response = await fetch(edge.url + path, { method: "POST" });
      expect([response.status, (await response.json()).code]).toEqual([400, "bad_name"]);
    }
    expect(edge.router.calls).toEqual([]);
  });

  it("mean to the router what the URL means to the session", async () => {
    await using edge = await edgeWith(echo);
    for (const path of [
      "/sessions/counter/a/../b",
      "/sessions/counter/a/%2e%2E/b",
      "/sessions\\counter\\b",
      "/x/../sessions/counter/b",
    ]) {
      expect((await getRaw(edge, path)).body).toBe(`counter/b ${edge.url}/sessions/counter/b`);
    }
    const absolute = await getRaw(edge, "http://other.test/sessions/counter/b");
    expect(absolute.body).toBe("counter/b http://other.test/sessions/counter/b");
    expect((await getRaw(edge, '/sessions/counter/b?a="<')).body).toContain("?a=%22%3C");
  });

  it("are refused with bad_request when the Host header is no host", async () => {
    await using edge = await edgeWith(echo);
    for (const host of ["a/sessions/counter/x?", "a b", "user@host", "[::1"]) {
      expect((await getRaw(edge, "/sessions/counter/a", { host })).status).toBe(400);
    }
    expect((await getRaw(edge, "/sessions/counter/a", { host: "[::1]:80" })).status).toBe(200);
  });

  it("answer unknown_kind with the kinds that there are", async () => {
    await using edge = await edgeWith(echo);
    const response = await fetch(`${edge.url}/sessions/cart/a`);
    expect(response.status).toBe(404);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toMatchObject({
      code: "unknown_kind",
      status: 404,
      detail: expect.stringContaining("counter, chat"),
    });
  });
});

describe("POST /sessions/:kind", () => {
  it("makes a session with a made-up name and says where it is", async () => {
    await using edge = await edgeWith(echo);
    for (const path of ["/sessions/counter", "/sessions/counter/", "/sessions/counter?x=1"]) {
      const response = await fetch(edge.url + path, { method: "POST" });
      expect(response.status).toBe(201);
      expect(response.headers.get("location")).toBe("/sessions/counter/q7Zk%2Fmade%20up");
      expect(await response.json()).toEqual({
        kind: "counter",
        name: "q7Zk/made up",
        url: `${edge.url}/sessions/counter/q7Zk%2Fmade%20up`,
      });
    }
    expect(edge.router.activated.map((id) => id.key)).toEqual(Array(3).fill("counter/q7Zk/made up"));
  });

  it("is the only method there", async () => {
    await using edge = await edgeWith(echo);
    for (const method of ["GET", "PUT", "DELETE"]) {
      const response = await fetch(`${edge.url}/sessions/counter`, { method });
      expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
      expect(await response.json()).toMatchObject({ code: "method_not_allowed" });
    }
  });
});

describe("the mesh's own paths", () => {
  it("say at / what this is, in the language of the client", async () => {
    await using edge = await edgeWith(echo);
    const get = async (accept: string): Promise<[string | null, string]> => {
      const response = await fetch(`${edge.url}/`, { headers: { accept } });
      return [response.headers.get("content-type"), await response.text()];
    };
    const [htmlType, html] = await get("text/html,application/xhtml+xml,*/*;q=0.8");
    expect(htmlType).toBe("text/html; charset=utf-8");
    expect(html).toContain('<a href="/sessions/counter/example">');
    const outside = html.matchAll(/(?:src|href)="([^"]*)"/g).filter(([, link]) => !link?.startsWith("/"));
    expect([...outside]).toEqual([]);
    const [jsonType, json] = await get("application/json");
    expect(jsonType).toBe("application/json");
    expect(JSON.parse(json).kinds[1]).toMatchObject({ kind: "chat", example: `${edge.url}/sessions/chat/example` });
    expect((await get("*/*"))[1]).toContain(`curl ${edge.url}/sessions/counter/example`);
    expect((await fetch(edge.url, { method: "POST" })).status).toBe(405);
  });

  it("tell health: 200 while the worker accepts, else 503", async () => {
    let accepting = true;
    await using edge = await edgeWith({ ...echo, accepting: () => accepting });
    const ok = await fetch(`${edge.url}/_mesh/health`);
    expect([ok.status, await ok.json()]).toEqual([200, { status: "ok" }]);
    accepting = false;
    expect((await fetch(`${edge.url}/_mesh/health?x`)).status).toBe(503);
  });

  it("answer everything else with the paths that exist", async () => {
    await using edge = await edgeWith(echo);
    for (const path of ["/nope", "/sessions", "/_mesh/other", "/sessionsx/counter/a"]) {
      const response = await fetch(edge.url + path);
      expect([response.status, (await response.json()).detail]).toEqual([
        404,
        expect.stringContaining("/sessions/:kind/:name"),
      ]);
    }
  });
});
