import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { installWebClasses, requestOf, type RequestParts } from "../../../node/web/web.ts";

const parts = (change: Partial<RequestParts> = {}): RequestParts => ({
  method: "GET",
  url: "http://mesh.test/sessions/counter/a?x=1",
  headers: [],
  body: null,
  ...change,
});
const never = (): AbortSignal => new AbortController().signal;
const posted = (text: string): RequestParts => parts({ method: "POST", body: new TextEncoder().encode(text) });

function streamOf(...chunks: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(chunk));
    },
  });
}

const originals = { Request: globalThis.Request, Response: globalThis.Response, fetch: globalThis.fetch };
beforeAll(() => installWebClasses());
afterAll(() => void Object.assign(globalThis, originals));

describe("a lazy request", () => {
  it("is a Request, for the global class and for the native one", () => {
    const request = requestOf(parts(), never);
    expect(request instanceof Request).toBe(true);
    expect(request instanceof originals.Request).toBe(true);
    expect(Object.prototype.toString.call(request)).toBe("[object Request]");
  });

  it("shows headers in any case, joined, without those of the connection", () => {
    const headers = ["X-A", "1", "x-a", "2", "Connection", "close", "Transfer-Encoding", "chunked", "Upgrade", "h2c"];
    const request = requestOf(parts({ headers }), never);
    expect([...request.headers]).toEqual([["x-a", "1, 2"]]);
  });

  it("keeps the upgrade header of a WebSocket request", () => {
    const request = requestOf(parts({ headers: ["Upgrade", "WebSocket"] }), never);
    expect(request.headers.get("upgrade")).toBe("WebSocket");
  });

  it("asks for the signal once, and only when somebody looks", () => {
    const controller = new AbortController();
    let asked = 0;
    const request = requestOf(parts(), () => {
      asked += 1;
      return controller.signal;
    });
    expect(request.url).toContain("x=1");
    expect(asked).toBe(0);
    controller.abort();
    const { signal } = request;
    expect([signal.aborted, request.signal === signal]).toEqual([true, true]);
    expect(asked).toBe(1);
  });

  it("reads bytes and streams as text, JSON, bytes, blob and form", async () => {
    expect(await requestOf(posted('{"a":[1]}'), never).json()).toEqual({ a: [1] });
    const streamed = (): Request => requestOf(parts({ method: "POST", body: streamOf("é", "\n", "b") }), never);
    expect(await streamed().text()).toBe("é\nb");
    expect((await streamed().arrayBuffer()).byteLength).toBe(4);
    const form = { ...posted("a=1&a=2"), headers: ["Content-Type", "application/x-www-form-urlencoded"] };
    expect((await requestOf(form, never).formData()).getAll("a")).toEqual(["1", "2"]);
    const blob = await requestOf(form, never).blob();
    expect([blob.type, await blob.text()]).toEqual(["application/x-www-form-urlencoded", "a=1&a=2"]);
  });

  it("gives bytes of its own, not a view into a frame", async () => {
    const body = new TextEncoder().encode("abc");
    const bytes = await requestOf(parts({ method: "POST", body }), never).bytes();
    bytes.fill(0);
    expect(new TextDecoder().decode(body)).toBe("abc");
  });

  it("can be read once, like a native one", async () => {
    const request = requestOf(posted("x"), never);
    expect(request.bodyUsed).toBe(false);
    await request.text();
    expect(request.bodyUsed).toBe(true);
    await expect(request.text()).rejects.toThrow(TypeError);
    expect(() => request.clone()).toThrow(TypeError);
    expect(request.body).not.toBe(null);
  });

  it("has no body for GET, whatever the client sent", async () => {
    const request = requestOf({ ...posted("x"), method: "GET" }, never);
    expect([request.body, await request.text(), await request.text(), request.bodyUsed]).toEqual([null, "", "", false]);
  });

  it("clones into two readable requests", async () => {
    const request = requestOf(posted("twice"), never);
    const copy = request.clone();
    expect([await request.text(), await copy.text()]).toEqual(["twice", "twice"]);
  });

  it("answers everything else as a native one would", () => {
    const request = requestOf(parts(), never);
    expect([request.redirect, request.keepalive, request.referrer]).toEqual(["follow", false, "about:client"]);
  });

  it("passes headers that were changed late on to copies", () => {
    const request = requestOf(parts(), never);
    const { headers } = request;
    expect(request.redirect).toBe("follow");
    headers.set("x-late", "1");
    expect(request.clone().headers.get("x-late")).toBe("1");
    expect(request.headers).toBe(headers);
  });

  it("is taken by new Request(lazy), which takes its body over", async () => {
    const request = requestOf({ ...posted("moved"), headers: ["x-a", "1"] }, never);
    const copy = new Request(request, { headers: { "x-b": "2" } });
    expect([copy.url, copy.method, await copy.text()]).toEqual([request.url, "POST", "moved"]);
    expect([...copy.headers.keys()]).toContain("x-b");
    expect(request.bodyUsed).toBe(true);
  });

  it("is taken by fetch(lazy)", async () => {
    const server = createServer((incoming, outgoing) => incoming.pipe(outgoing));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const request = requestOf({ ...posted("echo"), url: `http://127.0.0.1:${port}/` }, never);
    expect(await (await fetch(request)).text()).toBe("echo");
    server.closeAllConnections();
    server.close();
  });

  it("fails with body_too_large when more than the limit is read, by text and by stream", async () => {
    const limit = { bodyBytesMax: 3 };
    const streamed = (): Request => requestOf(parts({ method: "PUT", body: streamOf("ab", "cd", "ef") }), never, limit);
    await expect(streamed().text()).rejects.toMatchObject({ code: "body_too_large" });
    await expect(streamed().clone().text()).rejects.toMatchObject({ code: "body_too_large" });
    await expect(requestOf(posted("abcd"), never, limit).text()).rejects.toMatchObject({ code: "body_too_large" });
    expect(await requestOf(posted("abc"), never, limit).text()).toBe("abc");
  });

  it("stops its source when the limit is crossed", async () => {
    let stopped: unknown;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(10)),
      cancel: (reason) => void (stopped = reason),
    });
    const request = requestOf(parts({ method: "POST", body: endless }), never, { bodyBytesMax: 25 });
    await expect(request.bytes()).rejects.toMatchObject({ code: "body_too_large" });
    expect(stopped).toMatchObject({ code: "body_too_large" });
  });
});
