import { expect, test } from "vitest";
import { MeshError, SessionServer, type SessionClass } from "sessionmesh";
import type { SessionCall } from "#mesh";
import { callTo, codeOf, startHost } from "./harness.ts";

class Target extends SessionServer {
  static readonly options = { uncaught: "session" } as const;
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/fail") throw new Error("boom");
    if (url.pathname === "/wait") return new Promise(() => {});
    return Response.json({
      name: this.ctx.id.name,
      method: request.method,
      path: url.pathname + url.search,
      type: request.headers.get("content-type"),
      body: await request.text(),
    });
  }
}

/** Runs what the test says, as session code. */
let script: (self: Caller) => Promise<unknown> = async () => undefined;
class Caller extends SessionServer {
  override async fetch(): Promise<Response> {
    return Response.json((await script(this)) ?? null);
  }
}

function run(work: (self: Caller) => Promise<unknown>) {
  script = work;
  const calls: SessionCall[] = [];
  const mesh: ReturnType<typeof startHost> = startHost(
    { target: Target, caller: Caller } satisfies Record<string, SessionClass>,
    {
      callSession: (call) => {
        calls.push(call);
        return mesh.send(call);
      },
    },
  );
  return { ...mesh, calls, answer: async (): Promise<unknown> => JSON.parse(await mesh.get("caller/a")) };
}

test("a session asks another by class or kind, with a path", async () => {
  const { answer, calls } = run(async ({ ctx }) => {
    const one = await (await ctx.mesh.session(Target, "x").fetch("/items?page=2")).json();
    const two = await (await ctx.mesh.session("target", "y").fetch("/", { method: "PUT", body: "text" })).json();
    return [one, two];
  });
  expect(await answer()).toEqual([
    { name: "x", method: "GET", path: "/items?page=2", type: null, body: "" },
    { name: "y", method: "PUT", path: "/", type: "text/plain;charset=UTF-8", body: "text" },
  ]);
  // Whole bodies stay whole, so that a call that reached nobody can be sent again.
  expect(calls[1]?.body).toBeInstanceOf(Uint8Array);
});

test("bodies of every kind arrive", async () => {
  const { answer } = run(async ({ ctx }) => {
    const stub = ctx.mesh.session(Target, "x");
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from("streamed"));
        controller.close();
      },
    });
    const bodies = [
      Buffer.from("bytes"),
      Buffer.from("buffer").buffer.slice(0, 0),
      new URLSearchParams({ a: "1" }),
      stream,
    ];
    const answers: unknown[] = [];
    for (const body of bodies) answers.push(await (await stub.fetch("/", { method: "POST", body })).json());
    const request = new Request("http://elsewhere/deep", { method: "POST", body: "whole" });
    answers.push(await (await stub.fetch(request)).json());
    return answers;
  });
  expect(await answer()).toMatchObject([
    { body: "bytes" },
    { body: "" },
    { body: "a=1", type: "application/x-www-form-urlencoded;charset=UTF-8" },
    { body: "streamed" },
    { body: "whole", path: "/deep" },
  ]);
});

test("errors of the other session arrive as MeshError and end only that session", async () => {
  const { answer, ended } = run(async ({ ctx }) => {
    const error: unknown = await ctx.mesh
      .session(Target, "x")
      .fetch("/fail")
      .catch((thrown: unknown) => thrown);
    return error instanceof MeshError ? error.code : "no MeshError";
  });
  expect(await answer()).toBe("session_crashed");
  expect(ended.map(({ key }) => key)).toEqual(["target/x"]);
});

test("an unknown kind or a bad name is refused at once", async () => {
  const { answer } = run(async ({ ctx }) => {
    const codes: unknown[] = [];
    for (const make of [() => ctx.mesh.session("cart", "x"), () => ctx.mesh.session("target", "")]) {
      try {
        make();
      } catch (error) {
        codes.push(error instanceof MeshError ? error.code : error);
      }
    }
    return codes;
  });
  expect(await answer()).toEqual(["unknown_kind", "bad_name"]);
});

test("onlyIfActive travels with the call", async () => {
  const { answer, calls } = run(async ({ ctx }) => {
    await ctx.mesh.session(Target, "x", { onlyIfActive: true }).fetch("/");
  });
  await answer();
  expect(calls.map((call) => call.onlyIfActive)).toEqual([true]);
});

test("an aborted call rejects with the signal's reason and cancels the other side", async () => {
  const { answer, calls, ended } = run(async ({ ctx }) => {
    const controller = new AbortController();
    const answered = ctx.mesh.session(Target, "x").fetch("/wait", { signal: controller.signal });
    setImmediate(() => controller.abort("enough"));
    return answered.catch((reason: unknown) => reason);
  });
  expect(await answer()).toBe("enough");
  expect(calls[0]?.cancelled?.code).toBe("cancelled");
  expect(ended).toEqual([]);
});

test("the body of an answer fails with the signal's reason, and the session that makes it is told", async () => {
  const told: string[] = [];
  class Source extends SessionServer {
    override fetch(request: Request): Response {
      request.signal.addEventListener("abort", () => told.push("signal"));
      const pull = (controller: ReadableStreamDefaultController): void => controller.enqueue(Buffer.from("more"));
      return new Response(new ReadableStream({ pull, cancel: () => void told.push("stream") }));
    }
  }
  const outcomes: unknown[] = [];
  const mesh: ReturnType<typeof startHost> = startHost({ source: Source, caller: Caller });
  script = async ({ ctx }) => {
    const stub = ctx.mesh.session("source", "x");
    for (const when of ["before it is read", "while nobody reads", "while it is read"]) {
      const controller = new AbortController();
      const answer = await stub.fetch("/", { signal: controller.signal });
      const reader = answer.body?.getReader();
      if (when !== "before it is read") outcomes.push(Buffer.from((await reader?.read())?.value ?? []).toString());
      const reading = when === "while it is read" ? reader?.read() : undefined;
      await reading;
      controller.abort(new RangeError(when));
      outcomes.push(await reader?.read().then(() => "went on", String));
    }
    const controller = new AbortController();
    const whole = await ctx.mesh.session("caller", "y").fetch("/", { signal: controller.signal });
    controller.abort();
    outcomes.push(await whole.text());
  };
  const first = script;
  script = async (self) => (self.ctx.id.name === "y" ? "whole" : first(self));
  await mesh.get("caller/a");
  expect(outcomes).toEqual([
    "RangeError: before it is read",
    "more",
    "RangeError: while nobody reads",
    "more",
    "RangeError: while it is read",
    '"whole"',
  ]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(told.toSorted()).toEqual(["signal", "signal", "signal", "stream", "stream", "stream"]);
  expect(mesh.ended).toEqual([]);
});

test("typed bodies arrive whole, with their type and their length", async () => {
  const { answer, calls } = run(async ({ ctx }) => {
    const stub = ctx.mesh.session(Target, "x");
    const form = new FormData();
    form.append("file", new File(["content"], "a.txt"));
    const bodies = ["text", new Blob(["blob"], { type: "text/css" }), new URLSearchParams({ a: "1" }), form];
    const more = [new Uint16Array(2), new DataView(new ArrayBuffer(3)), new ArrayBuffer(1), Buffer.from("b")];
    const types: unknown[] = [];
    for (const body of [...bodies, ...more]) {
      for (const made of [{ body }, { request: new Request("http://mesh/", { method: "POST", body }) }]) {
        const response = await stub.fetch(
          made.request ?? "/",
          made.request === undefined ? { method: "PUT", ...made } : undefined,
        );
        const { type, body: text } = (await response.json()) as { type: string | null; body: string };
        types.push(type?.replace(/boundary=.*/, ""), text.length > 0);
      }
    }
    return types;
  });
  const types = ["text/plain;charset=UTF-8", "text/css", "application/x-www-form-urlencoded;charset=UTF-8"];
  const all = [...types, "multipart/form-data; ", undefined, undefined, undefined, undefined];
  expect(await answer()).toEqual(all.flatMap((type) => [type ?? null, true, type ?? null, true]));
  expect(calls).toHaveLength(16);
  for (const { body, headers } of calls) {
    expect(body).toBeInstanceOf(Uint8Array);
    expect(headers.filter((_, at) => at % 2 === 0 && headers[at] === "content-length")).toHaveLength(1);
    expect(headers[headers.indexOf("content-length") + 1]).toBe(String((body as Uint8Array).byteLength));
  }
});

test("a body that the caller changes after the call arrives as it was", async () => {
  const { answer } = run(async ({ ctx }) => {
    const body = Buffer.from("before");
    const answered = ctx.mesh.session(Target, "x").fetch("/", { method: "PUT", body });
    body.fill("x");
    return ((await (await answered).json()) as { body: string }).body;
  });
  expect(await answer()).toBe("before");
});

test("HEAD has the headers of the answer and no body", async () => {
  const { answer } = run(async ({ ctx }) => {
    const response = await ctx.mesh.session(Target, "x").fetch("/", { method: "HEAD" });
    return [response.status, response.body, await response.text(), Number(response.headers.get("content-length")) > 20];
  });
  expect(await answer()).toEqual([200, null, "", true]);
});

test("an ended session calls nobody", async () => {
  const gate = Promise.withResolvers<void>();
  let code = "";
  const { send, host, calls } = run(async ({ ctx }) => {
    await gate.promise;
    code = await codeOf(ctx.mesh.session(Target, "x").fetch("/"));
  });
  const answer = codeOf(send(callTo("caller/a")));
  host.dropAll(1012);
  gate.resolve();
  expect(await answer).toBe("session_lost");
  await new Promise((resolve) => setImmediate(resolve));
  expect(code).toBe("session_stopped");
  expect(calls).toEqual([]);
});
