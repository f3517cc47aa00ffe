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
