// What a session is to its users and its worker, held to each isolation class: the same tests for an object, a thread and a process.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { MeshError } from "#proto";
import { installSessionTimers } from "../../../node/session/timers.ts";
import { FakeClient, World, callTo, codeOf, eventually } from "./world.ts";

// As in a worker.
installSessionTimers();

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

describe.each(["shared", "thread", "process"])("a session of isolation %s", (kind) => {
  const a = `${kind}/a`;

  test("keeps its state from request to request, apart from that of other names", async () => {
    const world = World.open();
    expect(await world.json(a)).toMatchObject({ count: 1 });
    expect(await world.json(a)).toMatchObject({ count: 2 });
    expect(await world.json(`${kind}/b`)).toMatchObject({ count: 1 });
  });

  test("knows who and where it is", async () => {
    const world = World.open();
    expect(await world.json(a, "/context")).toEqual({
      id: { kind, name: "a" },
      node: "n1",
      worker: 0,
      fence: { epoch: 1, claim: 1 },
      seen: ["started"],
    });
  });

  test("answers a crowd that came while it started", async () => {
    const world = World.open();
    const answers = await Promise.all(Array.from({ length: 50 }, () => world.json(a)));
    expect(answers.map(({ count }) => count)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  });

  test("streams a request's body and its answer's at the same time", async () => {
    const world = World.open();
    const upload = new TransformStream<Uint8Array, Uint8Array>();
    const writer = upload.writable.getWriter();
    const answered = world.fetch(a, { path: "/echo", body: upload.readable });
    const response = await answered;
    expect([response.status, response.headers.get("x-method")]).toEqual([201, "POST"]);
    const reader = response.body?.getReader();
    for (const word of ["one", "two"]) {
      void writer.write(Buffer.from(word));
      expect(text((await reader?.read())?.value)).toBe(word);
    }
    await writer.close();
    expect(await reader?.read()).toMatchObject({ done: true });
  });

  test("carries a large body through whole", async () => {
    const world = World.open();
    const body = Buffer.alloc(3_000_000, "0123456789");
    const response = await world.fetch(a, { path: "/echo", body });
    expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
  });

  test("carries many bodies at a time, more than may be under way", async () => {
    const world = World.open();
    const bodies = Array.from({ length: 16 }, (_, at) => Buffer.alloc(1_000_000, String.fromCharCode(97 + at)));
    const echoes = bodies.map(async (body) => {
      const response = await world.fetch(a, { path: "/echo", body });
      return Buffer.from(await response.arrayBuffer()).equals(body);
    });
    expect(new Set(await Promise.all(echoes))).toEqual(new Set([true]));
  });

  test("makes no more of an answer than is read, and nothing after its reader has gone", async () => {
    const world = World.open();
    const response = await world.fetch(a, { path: "/endless" });
    const reader = response.body?.getReader();
    await reader?.read();
    // Two looks that see the same: it has come to rest.
    let before = "";
    await eventually(async () => before === (before = await world.text(a, "/ticks")));
    expect(Number(before)).toBeLessThan(20);
    await reader?.cancel();
    await eventually(() => world.host.describe(callTo(a).id.key)?.inFlight === 0);
    expect(await world.text(a, "/ticks")).toBe(before);
  });

  test("does not pull a body that it does not read", async () => {
    const world = World.open();
    let pulled = 0;
    const body = new ReadableStream<Uint8Array>(
      { pull: (to) => to.enqueue(new Uint8Array(++pulled)) },
      { highWaterMark: 0 },
    );
    expect((await world.fetch(a, { path: "/ticks", body })).status).toBe(200);
    expect(pulled).toBe(0);
  });

  test("greets its sockets after the handshake and keeps the type and order of messages", async () => {
    const world = World.open();
    const { client, end } = await world.connect(a);
    void end.message("one");
    void end.message(new Uint8Array([1, 2]));
    void end.message("two");
    await eventually(() => client.sent.length === 4);
    expect(client.sent.map((data) => (typeof data === "string" ? data : [...data]))).toEqual([
      "hello 1",
      "one",
      [1, 2],
      "two",
    ]);
  });

  test("broadcasts to all, all but one, or those with a tag", async () => {
    const world = World.open();
    const one = await world.connect(a, "/socket?tag=vip");
    const two = await world.connect(a);
    void one.end.message("all but me");
    await eventually(() => two.client.sent.length === 2);
    void two.end.message("vip only");
    await eventually(() => one.client.sent.length === 2);
    expect(one.client.sent).toEqual(["hello 1", "vip only"]);
    expect(two.client.sent).toEqual(["hello 2", "all but me"]);
  });

  test("hears how a socket was closed, by its client or by itself", async () => {
    const world = World.open();
    const one = await world.connect(a);
    one.end.closed(4001, "done", true);
    const two = await world.connect(a);
    void two.end.message("close");
    await eventually(() => two.client.closed !== undefined);
    expect(two.client.closed).toEqual({ code: 4000, reason: "enough" });
    two.end.closed(4000, "enough", true);
    expect((await world.json(a, "/context"))["seen"]).toEqual([
      "started",
      "close 4001 done true",
      "close 4000 enough true",
    ]);
  });

  test("closes a client that reads too slowly, and one that sends too much", async () => {
    const world = World.open();
    const slow = await world.connect(a);
    slow.client.stuck = true;
    void slow.end.message("flood");
    await eventually(async () => (await world.text(a, "/context")).includes("client reads too slowly"));
    slow.client.stuck = false;
    slow.client.buffered = 0;
    slow.end.drained();
    await eventually(() => slow.client.closed);
    expect(slow.client.closed).toMatchObject({ code: 1013 });
    const loud = await world.connect(a);
    void loud.end.message("x".repeat(200_001));
    await eventually(() => loud.client.closed);
    expect(loud.client.closed).toMatchObject({ code: 1009 });
    await eventually(() => world.host.describe(callTo(a).id.key)?.sockets === 0);
  });

  test("has timers of its own", async () => {
    const world = World.open();
    await world.text(a, "/interval");
    await eventually(async () => Number(await world.text(a, "/ticks")) > 3);
  });

  test.each(["shared", "thread", "process"])("asks a session of isolation %s", async (other) => {
    const world = World.open();
    expect(await world.text(a, `/ask?kind=${other}`)).toBe("201 PUT asked");
  });

  test.each(["shared", "thread", "process"])(
    "aborts the body of a session of isolation %s, which hears of it",
    async (other) => {
      const world = World.open();
      expect(await world.text(a, `/abort-ask?kind=${other}`)).toBe("chunk, RangeError: enough");
      await eventually(async () => (await world.text(`${other}/watched`, "/context")).includes("aborted"));
      const { seen } = await world.json(`${other}/watched`, "/context");
      expect(seen).toEqual(expect.arrayContaining(["aborted", "cancelled"]));
    },
  );

  test("holds its events while it blocks them", async () => {
    const world = World.open();
    await world.text(a);
    const startMs = performance.now();
    await Promise.all([world.text(a, "/block"), world.text(a)]);
    expect(performance.now() - startMs).toBeGreaterThan(90);
  });

  test("is told that a caller has gone, and that a request took too long", async () => {
    const world = World.open();
    await world.text(a);
    const call = callTo(a, { path: "/never" });
    const gone = codeOf(world.send(call));
    await eventually(() => world.host.describe(call.id.key)?.inFlight === 1);
    call.cancel(new MeshError("cancelled", "left"));
    await gone;
    expect(await codeOf(world.send(callTo(a, { path: "/never", timeoutMs: 100 })))).toBe("timeout");
    await eventually(async () => (await world.text(a, "/context")).split("aborted").length === 3);
  });

  test("is listed and described while it lives", async () => {
    const world = World.open();
    await world.connect(a);
    const { key } = callTo(a).id;
    await eventually(() => world.host.describe(key)?.sockets === 1);
    expect(world.host.describe(key)).toMatchObject({
      kind,
      name: "a",
      node: "n1",
      worker: 0,
      fence: "1.1",
      state: "running",
      inFlight: 0,
    });
    expect([...world.host.sessions()].map(({ id }) => id.key)).toEqual([key]);
    expect(world.host.size).toBe(1);
  });

  test("ends by itself, with its sockets, and begins anew", async () => {
    const world = World.open();
    const { client } = await world.connect(a);
    expect(await world.text(a, "/destroy")).toBe("bye");
    await eventually(() => world.reasons(a).length === 1 && client.closed);
    expect(world.reasons(a)).toEqual(["destroyed"]);
    expect(client.closed).toMatchObject({ code: 1000 });
    expect(await world.json(a)).toMatchObject({ count: 1 });
  });

  test("stops when it is idle, and runs onStop before that", async () => {
    const world = World.open();
    const short = `${kind}-short/tells-a`;
    await world.text(short);
    await eventually(() => world.reasons(short).length === 1);
    expect(world.reasons(short)).toEqual(["idle"]);
    expect(await world.text("listener/all")).toBe('["stopped idle"]');
  });

  test("stops when it is told to, after the requests under way", async () => {
    const world = World.open();
    const key = `${kind}/tells-b`;
    const { client } = await world.connect(key);
    const under = world.text(key, "/compute?ms=100");
    await world.host.stop(callTo(key).id.key, "drain");
    expect(await under).toBe("computed");
    await eventually(() => client.closed);
    expect(client.closed).toEqual({ code: 1012, reason: "session stopped: drain" });
    expect(world.reasons(key)).toEqual(["drained"]);
    expect(await world.text("listener/all")).toBe('["stopped drain"]');
  });

  test("loses one event to an error of that event, and nothing else", async () => {
    const world = World.open();
    expect(await world.json(a)).toMatchObject({ count: 1 });
    const [failing, other] = [await world.connect(a), await world.connect(a)];
    expect(await world.error(a, "/throw")).toMatchObject({ code: "handler_failed", session: a });
    await failing.end.message("throw");
    await eventually(() => failing.client.closed);
    expect(failing.client.closed).toMatchObject({
      code: 1011,
      reason: expect.stringContaining("onMessage() of the session failed"),
    });
    expect(await world.json(a)).toMatchObject({ count: 3 });
    expect(other.client.closed).toBeUndefined();
    expect(world.reasons(a)).toEqual([]);
    expect(await world.json(a, "/context")).toMatchObject({
      seen: ["started", "told to", "told to", expect.stringMatching(/^close 1011 /)],
    });
  });

  test.each([
    ["/socket?refuse=forbidden", "forbidden"],
    ["/socket?refuse=unauthorized", "unauthorized"],
    ["/socket?refuse=error", "handler_failed"],
    ["/socket?_pk=%00", "bad_request"],
  ])("refuses the handshake of %s with %s, and goes on", async (path, code) => {
    const world = World.open();
    expect(await world.json(a)).toMatchObject({ count: 1 });
    expect(await codeOf(world.connect(a, path))).toBe(code);
    expect(await world.json(a)).toMatchObject({ count: 2 });
    expect(world.reasons(a)).toEqual([]);
  });

  test("answers a handshake, and a request, with the Response that it throws", async () => {
    const world = World.open();
    const answer = await world.host.connect(await world.started(a, "/socket?refuse=response"), new FakeClient());
    expect(answer).toMatchObject({ status: "answered", reply: { status: 402 } });
    if (answer.status !== "answered") throw new Error(answer.status);
    expect(answer.reply.headers).toContain("x-why");
    expect(String(answer.reply.body)).toBe("pay first");
    const response = await world.fetch(a, { path: "/throw-response" });
    expect([response.status, await response.text()]).toEqual([418, "short and stout"]);
    expect(world.reasons(a)).toEqual([]);
  });

  test("stops when its host drains, once its last socket has closed", async () => {
    const world = World.open();
    const key = `${kind}/tells-drain`;
    const { client, end } = await world.connect(key);
    world.host.drain();
    expect(await world.text(key, "/compute?ms=600")).toBe("computed");
    expect(world.reasons(key)).toEqual([]);
    end.closed(1000, "", true);
    await eventually(() => world.reasons(key).length > 0);
    expect(world.reasons(key)).toEqual(["drained"]);
    expect(client.closed).toBeUndefined();
    expect(await world.text("listener/all")).toBe('["stopped drain"]');
  });

  test("crashes alone: its request, its sockets and its name hear of it, and the next request begins anew", async () => {
    const world = World.open();
    await world.text(a);
    const { client } = await world.connect(a);
    expect(await world.error(a, "/stray")).toMatchObject({ code: "session_crashed", session: a });
    await eventually(() => client.closed && world.reasons(a).length === 1);
    expect(client.closed).toEqual({ code: 1011, reason: "session crashed" });
    expect(world.ended[0]).toMatchObject({ reason: "crashed", error: { message: "told to, later" } });
    expect(await world.json(a)).toMatchObject({ count: 1 });
  });

  test("is refused for a while when it crashes again and again", async () => {
    const world = World.open();
    const bad = `${kind}/bad-start`;
    for (let crash = 0; crash < 6; crash++)
      expect(await world.error(bad, "/")).toMatchObject({ code: "session_crashed" });
    const refused = await world.error(bad, "/");
    expect(refused.code).toBe("overloaded");
    expect(refused.retryAfterMs).toBeGreaterThan(0);
  });

  test("neither acts nor speaks while its node may not, and loses nothing by that", async () => {
    const world = World.open();
    await world.text(a);
    const { client, end } = await world.connect(a);
    await world.suspend();
    void end.message("held");
    let answered = false;
    const answer = world.json(a).finally(() => (answered = true));
    // Longer than both take together when they may.
    await sleep(200);
    expect([answered, client.sent]).toEqual([false, ["hello 1"]]);
    world.resume();
    expect(await answer).toMatchObject({ count: 2 });
    await eventually(() => client.sent.length === 2);
  });

  test("is dropped at once when its node is evicted", async () => {
    const world = World.open();
    const { client } = await world.connect(a);
    const under = world.error(a, "/never");
    await eventually(() => world.host.describe(callTo(a).id.key)?.inFlight === 1);
    world.host.dropAll(1012);
    expect((await under).code).toBe("session_lost");
    expect(client.closed).toEqual({ code: 1012, reason: "session lost its host" });
    expect(world.reasons(a)).toEqual(["evicted"]);
    expect(world.host.size).toBe(0);
  });
});
