import { describe, expect, test } from "vitest";
import { SessionServer, type SessionContext, type StopReason } from "sessionmesh";
import { callTo, codeOf, settle, startHost } from "./harness.ts";

class Counter extends SessionServer {
  count = 0;
  override fetch(): Response {
    return Response.json({ count: ++this.count });
  }
}

/** Writes down what happens to it, across its lives. */
const events: string[] = [];
class Recorded extends SessionServer {
  readonly name = this.ctx.id.name;
  override fetch(request: Request): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/destroy") this.ctx.destroy();
    if (pathname === "/wait") return gate.promise.then(() => new Response("waited"));
    return new Response(this.name);
  }
  override onStop(reason: StopReason): void | Promise<void> {
    events.push(`${this.name} onStop ${reason}`);
    if (this.name === "stuck") return new Promise(() => {});
    if (this.name === "broken") throw new Error("cannot stop");
  }
}
let gate = Promise.withResolvers<void>();

test("a session keeps its state between requests", async () => {
  const { get } = startHost({ counter: Counter });
  expect(await get("counter/a")).toBe('{"count":1}');
  expect(await get("counter/a")).toBe('{"count":2}');
  expect(await get("counter/b")).toBe('{"count":1}');
});

test("a request that needs no waiting is answered without a promise", () => {
  const { host, start } = startHost({ counter: Counter });
  start("counter/a");
  expect(host.fetch(callTo("counter/a"))).not.toBeInstanceOf(Promise);
});

test("field initialisers see the context", async () => {
  const { get } = startHost({ recorded: Recorded });
  expect(await get("recorded/alice")).toBe("alice");
});

test("the context says who and where the session is", async () => {
  class Asked extends SessionServer {
    override fetch(): Response {
      const { id, node, worker, fence, env } = this.ctx;
      return Response.json({ kind: id.kind, name: id.name, node, worker, fence, mode: env["MODE"] });
    }
  }
  const { get } = startHost({ asked: Asked }, { env: { MODE: "test" } });
  expect(JSON.parse(await get("asked/a"))).toEqual({
    kind: "asked",
    name: "a",
    node: "n1",
    worker: 0,
    fence: { epoch: 1, claim: 1 },
    mode: "test",
  });
});

test("events wait for onStart", async () => {
  const order: string[] = [];
  const started = Promise.withResolvers<void>();
  class Slow extends SessionServer {
    override async onStart(): Promise<void> {
      order.push("start");
      await started.promise;
      order.push("started");
    }
    override fetch(request: Request): Response {
      order.push(new URL(request.url).pathname);
      return new Response();
    }
  }
  const { get, host } = startHost({ slow: Slow });
  const answers = [get("slow/a", "/1"), get("slow/a", "/2")];
  await settle();
  expect(host.describe(callTo("slow/a").id.key)).toMatchObject({ state: "starting", inFlight: 2 });
  started.resolve();
  await Promise.all(answers);
  expect(order).toEqual(["start", "started", "/1", "/2"]);
});

test("a block in the constructor comes before onStart", async () => {
  const order: string[] = [];
  const loaded = Promise.withResolvers<void>();
  class Loading extends SessionServer {
    constructor(ctx: SessionContext) {
      super(ctx);
      void ctx.blockConcurrencyWhile(async () => {
        await loaded.promise;
        order.push("loaded");
      });
    }
    override onStart(): void {
      order.push("start");
    }
    override fetch(): Response {
      order.push("fetch");
      return new Response();
    }
  }
  const { get } = startHost({ loading: Loading });
  const answer = get("loading/a");
  await settle();
  expect(order).toEqual([]);
  loaded.resolve();
  await answer;
  expect(order).toEqual(["loaded", "start", "fetch"]);
});

test("more than 1,000 waiting events are refused", async () => {
  class Stuck extends SessionServer {
    override onStart(): Promise<void> {
      return new Promise(() => {});
    }
    override fetch(): Response {
      return new Response();
    }
  }
  const { send, clock } = startHost({ stuck: Stuck });
  const answers = Array.from({ length: 1_000 }, () => codeOf(send(callTo("stuck/a"))));
  expect(() => send(callTo("stuck/a"))).toThrow(expect.objectContaining({ code: "overloaded" }));
  await clock.advance(31_000);
  expect(new Set(await Promise.all(answers))).toEqual(new Set(["timeout"]));
});

test("onStart that does not settle crashes the session after 30 s", async () => {
  class Stuck extends SessionServer {
    override onStart(): Promise<void> {
      return new Promise(() => {});
    }
  }
  const { start, clock, ended } = startHost({ stuck: Stuck });
  start("stuck/a");
  await clock.advance(29_000);
  expect(ended).toEqual([]);
  await clock.advance(2_000);
  expect(ended).toMatchObject([{ key: "stuck/a", reason: "crashed" }]);
});

test("an idle session stops after idleMs, told why, and starts afresh", async () => {
  class Idle extends Counter {
    static readonly options = { idleMs: 5_000 };
    override onStop(reason: StopReason): void {
      events.push(`idle ${reason}`);
    }
  }
  events.length = 0;
  const { get, clock, ended, host } = startHost({ idle: Idle });
  await get("idle/a");
  await clock.advance(4_000);
  expect(await get("idle/a")).toBe('{"count":2}');
  await clock.advance(4_500);
  expect(host.size).toBe(1);
  await clock.advance(1_000);
  expect(host.size).toBe(0);
  expect(events).toEqual(["idle idle"]);
  expect(ended).toEqual([{ key: "idle/a", reason: "idle", error: undefined }]);
  expect(await get("idle/a")).toBe('{"count":1}');
});

test("a request, a socket or waitUntil keeps a session from idling", async () => {
  const busy = Promise.withResolvers<void>();
  class Busy extends SessionServer {
    static readonly options = { idleMs: 1_000 };
    override fetch(): Response {
      this.ctx.waitUntil(busy.promise);
      return new Response();
    }
    override onMessage(): void {}
  }
  gate = Promise.withResolvers<void>();
  const { get, connect, clock, host } = startHost({ busy: Busy, recorded: Recorded });
  await get("busy/waits");
  const { end } = await connect("busy/socket");
  await clock.advance(20_000);
  expect([...host.sessions()].map(({ id }) => id.key)).toEqual(["busy/waits", "busy/socket"]);
  busy.resolve();
  end.closed(1000, "", true);
  await clock.advance(2_000);
  expect(host.size).toBe(0);
});

test("destroy answers the request under way, closes sockets with 1000 and ends the session", async () => {
  class Room extends Recorded {
    override onMessage(): void {}
  }
  events.length = 0;
  const { get, connect, ended, host } = startHost({ room: Room });
  const { client } = await connect("room/a");
  expect(await get("room/a", "/destroy")).toBe("a");
  expect(events).toEqual(["a onStop destroy"]);
  expect(ended).toMatchObject([{ key: "room/a", reason: "destroyed" }]);
  expect(client.closed?.code).toBe(1000);
  expect(host.size).toBe(0);
});

test("a stop lets requests under way finish before onStop, and holds newer ones for the next server", async () => {
  gate = Promise.withResolvers<void>();
  events.length = 0;
  const { send, get, host, start } = startHost({ recorded: Recorded });
  const key = start("recorded/a");
  const early = get("recorded/a", "/wait").then((text) => events.push(text));
  const stopped = host.stop(key, "stop");
  const late = codeOf(send(callTo("recorded/a")));
  await settle();
  expect(host.has(key)).toBe(true);
  expect(events).toEqual([]);
  gate.resolve();
  await stopped;
  await early;
  expect(events).toEqual(["a onStop stop", "waited"]);
  expect(await late).toBe("session_stopped");
  expect(host.has(key)).toBe(false);
});

test("onStop that does not settle is cut off after 5 s", async () => {
  events.length = 0;
  const { host, start, clock, ended } = startHost({ recorded: Recorded });
  const stopped = host.stop(start("recorded/stuck"), "stop");
  await clock.advance(4_500);
  expect(ended).toEqual([]);
  await clock.advance(1_000);
  await stopped;
  expect(ended).toMatchObject([{ reason: "stopped" }]);
});

test("onStop that throws is a crash of that session only", async () => {
  const { host, start, get, ended } = startHost({ recorded: Recorded });
  await get("recorded/neighbour");
  await host.stop(start("recorded/broken"), "stop");
  expect(ended).toMatchObject([{ key: "recorded/broken", reason: "crashed" }]);
  expect(await get("recorded/neighbour")).toBe("neighbour");
});

test("stopAll ends every session in order within its limit", async () => {
  class Room extends Recorded {
    override onMessage(): void {}
  }
  const { host, start, connect, clock, ended } = startHost({ room: Room });
  const { client } = await connect("room/a");
  start("room/b");
  start("room/stuck");
  const stopped = host.stopAll("drain", 2_000);
  await clock.advance(2_500);
  await stopped;
  expect(ended.map(({ key, reason }) => `${key} ${reason}`).sort()).toEqual([
    "room/a drained",
    "room/b drained",
    "room/stuck drained",
  ]);
  expect(client.closed?.code).toBe(1012);
});

describe("a host that drains", () => {
  class Busy extends SessionServer {
    static readonly told: string[] = [];
    static readonly done = Promise.withResolvers<void>();

    override async fetch(request: Request): Promise<Response> {
      if (request.url.endsWith("/waits")) this.ctx.waitUntil(Busy.done.promise);
      if (request.url.endsWith("/slow")) await Busy.done.promise;
      return new Response("answered");
    }

    override onMessage(): void {}

    override onStop(reason: string): void {
      Busy.told.push(`${this.ctx.id.name} ${reason}`);
    }
  }

  test("stops at once whom nothing keeps, classes that never idle too, and the others when they are done", async () => {
    class Lasting extends Busy {
      static options = { idleMs: Infinity } as const;
    }
    Busy.told.length = 0;
    const { host, get, connect, clock, ended } = startHost({ busy: Busy, lasting: Lasting });
    await get("busy/quiet");
    await get("lasting/quiet");
    await get("busy/waits", "/waits");
    const slow = get("busy/slow", "/slow");
    const { end } = await connect("busy/socket");
    host.drain();
    expect(Busy.told).toEqual(["quiet drain", "quiet drain"]);
    await clock.advance(2_000);
    expect(ended.map(({ key, reason }) => `${key} ${reason}`)).toEqual(["busy/quiet drained", "lasting/quiet drained"]);

    Busy.done.resolve();
    end.closed(1000, "", true);
    expect(await slow).toBe("answered");
    await clock.advance(600);
    expect(Busy.told.slice(2).sort()).toEqual(["slow drain", "socket drain", "waits drain"]);
    expect(host.size).toBe(0);
  });

  test("stops nobody while its node is suspended, and all when it is not any more", async () => {
    Busy.told.length = 0;
    const { host, get, lease, clock } = startHost({ busy: Busy });
    await get("busy/a");
    lease.close();
    host.drain();
    await clock.advance(30_000);
    expect(Busy.told).toEqual([]);
    lease.open();
    await clock.advance(600);
    expect(Busy.told).toEqual(["a drain"]);
  });

  test("leaves turns of the event loop to others", async () => {
    Busy.told.length = 0;
    const { host, start } = startHost({ busy: Busy });
    for (let at = 0; at < 5_000; at++) start(`busy/${at}`);
    let [before, most] = [0, 0];
    host.drain();
    while (host.size > 0) {
      most = Math.max(most, Busy.told.length - before);
      before = Busy.told.length;
      await new Promise(setImmediate);
    }
    expect(Busy.told).toHaveLength(5_000);
    expect(most).toBeLessThanOrEqual(1_024);
  });
});

test("thousands that are told to stop leave turns of the event loop to others, and whoever does not is named or counted", async () => {
  const told: number[] = [];
  let turn = 0;
  class Stuck extends SessionServer {
    override onStop(): Promise<void> {
      told.push(turn);
      return new Promise(() => {});
    }
  }
  const { host, start, clock, ended, lines } = startHost({ stuck: Stuck });
  for (let at = 0; at < 5_000; at++) start(`stuck/${at}`);
  const stopped = host.stopAll("shutdown", 2_000);
  while (told.length < 5_000) {
    turn++;
    await new Promise(setImmediate);
  }
  const most = Math.max(
    ...Map.groupBy(told, (at) => at)
      .values()
      .map((turns) => turns.length),
  );
  expect(most).toBeLessThanOrEqual(1_024);
  expect(ended).toEqual([]);

  let [before, mostEnds] = [0, 0];
  void clock.advance(2_250);
  while (ended.length < 5_000) {
    await new Promise(setImmediate);
    mostEnds = Math.max(mostEnds, ended.length - before);
    before = ended.length;
  }
  expect(mostEnds).toBeLessThanOrEqual(1_024);
  await stopped;
  expect(new Set(ended.map(({ reason }) => reason))).toEqual(new Set(["stopped"]));
  const warnings = lines
    .filter(({ level }) => level === "warn")
    .map((line) => line as { fields: { sessions?: number } });
  expect(warnings[0]).toMatchObject({ fields: { reason: "shutdown", limitMs: 2_000 } });
  // Each sweep of the deadlines names ten.
  expect(warnings.length).toBeLessThanOrEqual(33);
  expect(warnings.reduce((sum, { fields }) => sum + (fields.sessions ?? 1), 0)).toBe(5_000);
});

test("who has not been told to stop when the time is over is cut off as well", async () => {
  let nowMs = 0;
  const { host, start, ended, lines } = startHost(
    { recorded: Recorded },
    { clock: { now: () => nowMs, timer: () => () => {} } },
  );
  for (let at = 0; at < 2_000; at++) start(`recorded/${at}`);
  events.length = 0;
  const stopped = host.stopAll("shutdown", 1_000);
  nowMs = 1_000;
  await stopped;
  expect(ended).toHaveLength(2_000);
  expect(events.length).toBeGreaterThan(0);
  expect(events.length).toBeLessThan(2_000);
  expect(lines.at(-1)).toMatchObject({ fields: { sessions: 2_000 - events.length - 10 } });
});

test("dropAll ends everything at once without onStop", async () => {
  events.length = 0;
  gate = Promise.withResolvers<void>();
  class Room extends Recorded {
    override onMessage(): void {}
  }
  const { host, connect, send, ended } = startHost({ room: Room });
  const { client } = await connect("room/a");
  const pending = codeOf(send(callTo("room/a", { path: "/wait" })));
  host.dropAll(1012);
  expect(host.size).toBe(0);
  expect(client.closed?.code).toBe(1012);
  expect(await pending).toBe("session_lost");
  expect(ended).toMatchObject([{ reason: "evicted" }]);
  expect(events).toEqual([]);
});

test("a session destroyed in its constructor ends without onStart", async () => {
  const order: string[] = [];
  class Brief extends SessionServer {
    constructor(ctx: SessionContext) {
      super(ctx);
      ctx.destroy();
    }
    override onStart(): void {
      order.push("start");
    }
    override onStop(): void {
      order.push("stop");
    }
  }
  const { start, host, ended } = startHost({ brief: Brief });
  const key = start("brief/a");
  expect(host.has(key)).toBe(true);
  await settle();
  expect(order).toEqual(["stop"]);
  expect(ended).toMatchObject([{ reason: "destroyed" }]);
});

test("ctx.signal is aborted when the session ends, and what runs on afterwards does nothing", async () => {
  let signal: AbortSignal | undefined;
  class Signalled extends SessionServer {
    override fetch(): Response {
      signal = this.ctx.signal;
      return new Response();
    }
  }
  const { get, host, start } = startHost({ signalled: Signalled });
  await get("signalled/a");
  expect(signal?.aborted).toBe(false);
  await host.stop(start("signalled/a"), "stop");
  expect(signal?.aborted).toBe(true);
});

test("storage says that the class has none", async () => {
  let message = "";
  class Storing extends SessionServer {
    override fetch(): Response {
      try {
        return new Response(this.ctx.storage);
      } catch (error) {
        message = String(error);
        return new Response("none");
      }
    }
  }
  expect(await startHost({ storing: Storing }).get("storing/a")).toBe("none");
  expect(message).toContain('session kind "storing" keeps no storage: this version has none');
});

test("describe tells of a live session, and of no other", async () => {
  const { host, get, clock, start } = startHost({ counter: Counter });
  await get("counter/a");
  await clock.advance(1_000);
  const key = start("counter/a");
  expect(host.describe(key)).toMatchObject({
    kind: "counter",
    name: "a",
    node: "n1",
    worker: 0,
    fence: "1.1",
    state: "running",
    sockets: 0,
    inFlight: 0,
    timers: 0,
    ageMs: 1_000,
  });
  await host.stop(key, "stop");
  expect(host.describe(key)).toBeUndefined();
});

test("an unknown kind creates nothing and names the kinds there are", () => {
  const { host, start } = startHost({ counter: Counter });
  expect(() => start("cart/a")).toThrow(expect.objectContaining({ code: "unknown_kind" }));
  expect(() => host.wishOf("cart")).toThrow("it has counter");
  expect(host.size).toBe(0);
});

test("a closed host has no timer left and no session", async () => {
  const { host, start, clock, ended } = startHost({ counter: Counter });
  start("counter/a");
  host.close();
  host.close();
  expect(ended).toHaveLength(1);
  await clock.advance(120_000);
  expect(host.size).toBe(0);
});
