// A node without a lease holds what its sessions would do, loses nothing, and goes on when the lease is back.

import { expect, test } from "vitest";
import { SessionServer, type SessionSocket } from "sessionmesh";
import { FakeClient, callTo, codeOf, settle, startHost } from "./harness.ts";

let gate = Promise.withResolvers<void>();

class Counter extends SessionServer {
  static readonly options = { idleMs: 1_000, maxBufferedBytes: 1_000 };
  static made = 0;
  count = 0;
  readonly made = ++Counter.made;
  override async fetch(request: Request): Promise<Response> {
    const count = ++this.count;
    if (new URL(request.url).pathname === "/wait") await gate.promise;
    return new Response(String(count));
  }
  override onMessage(_socket: SessionSocket, message: string | Uint8Array): void {
    this.broadcast(message);
  }
}

test("no handler starts without the lease, and all start in order when it opens", async () => {
  const { get, lease, send } = startHost({ counter: Counter });
  await get("counter/a");
  lease.close();
  const answers = [get("counter/a"), get("counter/a")];
  const refused = send(callTo("counter/a"));
  expect(refused).toBeInstanceOf(Promise);
  await settle();
  lease.open();
  expect(await Promise.all(answers)).toEqual(["2", "3"]);
});

test("a server is not even constructed without the lease", async () => {
  const { get, lease } = startHost({ counter: Counter });
  Counter.made = 0;
  lease.close();
  const answer = get("counter/a");
  await settle();
  expect(Counter.made).toBe(0);
  lease.open();
  expect(await answer).toBe("1");
  expect(Counter.made).toBe(1);
});

test("an answer that was ready waits for the lease", async () => {
  gate = Promise.withResolvers<void>();
  const { get, lease } = startHost({ counter: Counter });
  let answered = false;
  const answer = get("counter/a", "/wait").finally(() => {
    answered = true;
  });
  await settle();
  lease.close();
  gate.resolve();
  await settle();
  expect(answered).toBe(false);
  lease.open();
  expect(await answer).toBe("1");
});

test("socket messages wait both ways, and keep their order", async () => {
  class Late extends Counter {
    override async fetch(): Promise<Response> {
      await gate.promise;
      this.broadcast("one");
      this.broadcast("two");
      return new Response();
    }
  }
  gate = Promise.withResolvers<void>();
  const { get, connect, lease } = startHost({ late: Late });
  const { client, end } = await connect("late/a");
  const answer = get("late/a");
  await settle();
  lease.close();
  gate.resolve();
  void end.message("three");
  await settle();
  expect(client.sent).toEqual([]);
  lease.open();
  await answer;
  await settle();
  expect(client.sent).toEqual(["one", "two", "three"]);
});

test("what waits for the lease is bounded", async () => {
  class Loud extends Counter {
    override async fetch(): Promise<Response> {
      await gate.promise;
      for (let at = 0; at < 20; at++) this.broadcast("x".repeat(100));
      return new Response();
    }
  }
  gate = Promise.withResolvers<void>();
  const { get, connect, lease } = startHost({ loud: Loud });
  const { client } = await connect("loud/a");
  const answer = get("loud/a");
  await settle();
  lease.close();
  gate.resolve();
  await settle();
  lease.open();
  await answer;
  await settle();
  expect(client.closed?.code).toBe(1013);
  expect(client.sent.length).toBeLessThanOrEqual(11);
});

test("a streamed chunk waits for the lease", async () => {
  let source: ReadableStreamDefaultController<Uint8Array> | undefined;
  class Streaming extends SessionServer {
    override fetch(): Response {
      return new Response(
        new ReadableStream({
          start(controller) {
            source = controller;
          },
        }),
      );
    }
  }
  const { send, lease } = startHost({ streaming: Streaming });
  const { body } = await send(callTo("streaming/a"));
  if (!(body instanceof ReadableStream)) throw new Error("no stream");
  const reader = body.getReader();
  let read = false;
  lease.close();
  const chunk = reader.read().finally(() => {
    read = true;
  });
  source?.enqueue(Buffer.from("x"));
  await settle();
  expect(read).toBe(false);
  lease.open();
  expect((await chunk).done).toBe(false);
});

test("a suspended session does not stop for idleness before the lease is back", async () => {
  const { get, lease, clock, ended } = startHost({ counter: Counter });
  await get("counter/a");
  lease.close();
  await clock.advance(3_000);
  expect(ended).toEqual([]);
  lease.open();
  await clock.advance(3_000);
  expect(ended).toMatchObject([{ reason: "idle" }]);
});

test("requests that wait for the lease still have their time limit", async () => {
  const { send, get, lease, clock } = startHost({ counter: Counter });
  await get("counter/a");
  lease.close();
  const answer = codeOf(send(callTo("counter/a", { timeoutMs: 500 })));
  await clock.advance(1_000);
  expect(await answer).toBe("timeout");
  lease.open();
  await settle();
  // The one that had given up never ran.
  expect(await get("counter/a")).toBe("2");
});

test("a fenced node drops held events without running any, and answers them as not run", async () => {
  gate = Promise.withResolvers<void>();
  const { host, get, send, lease, connect, ended } = startHost({ counter: Counter });
  await get("counter/a");
  const { client } = await connect("counter/a");
  const begun = codeOf(send(callTo("counter/a", { path: "/wait" })));
  await settle();
  lease.close();
  const held = codeOf(send(callTo("counter/a")));
  const knocking = host.connect(callTo("counter/a"), new FakeClient());
  host.dropAll(1012);
  expect(await begun).toBe("session_lost");
  expect(await held).toBe("session_stopped");
  expect(await knocking).toMatchObject({ status: "refused", error: { code: "session_stopped" } });
  expect(client.closed?.code).toBe(1012);
  expect(ended).toMatchObject([{ reason: "evicted" }]);
});

test("many held sessions all go on, a few in each turn of the event loop", async () => {
  const { get, lease } = startHost({ counter: Counter });
  lease.close();
  const answers = Array.from({ length: 500 }, (_, at) => get(`counter/s${at}`));
  lease.open();
  expect(new Set(await Promise.all(answers))).toEqual(new Set(["1"]));
});
