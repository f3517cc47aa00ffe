import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Served, type SessionCall, type SessionReply } from "#mesh";
import { MeshError, decodeClaims, encodeClaims } from "#proto";
import { WINDOW_BYTES } from "../../../mesh/link/window.ts";
import { asker, callOf, counted, lengthOf, options, pair, signal, textOf } from "./loopback.ts";

const CHUNK_BYTES = 64 * 1024;
/** 64 MB take a second; on a machine that is busy with other tests, many. */
const BULK_TIMEOUT_MS = 30_000;

function replied(body: SessionReply["body"]): Served<SessionReply> {
  return { status: "reply", reply: { status: 200, statusText: "OK", headers: ["x-a", "1", "x-a", "2"], body } };
}

async function repliesOf(outcome: Promise<{ readonly status: string }>): Promise<SessionReply> {
  const settled = (await outcome) as { status: string; reply?: SessionReply };
  expect(settled.status).toBe("reply");
  if (settled.reply === undefined) throw new Error(JSON.stringify(settled));
  return settled.reply;
}

/** Lets everything that is under way arrive: a stalled exchange is one that has not moved for many turns of the loop. */
async function settled(read: () => number): Promise<number> {
  for (let same = 0, last = read(); same < 50;) {
    await turn();
    same = read() === last ? same + 1 : 0;
    last = read();
  }
  return read();
}

describe.each(["tcp", "unix"] as const)("a call over %s", (over) => {
  test("arrives as it was sent, and so does the reply", async () => {
    const seen: { from: string; call: SessionCall; epoch: number; stale: string | undefined }[] = [];
    const { links, member } = await pair(
      {
        call: (from, call, { epoch, stale }) => {
          seen.push({ from, call, epoch, stale });
          return replied("hällo");
        },
      },
      over,
    );
    const of = { ip: "198.18.0.7", claims: encodeClaims({ user: "u1" }), protocol: "chat.v2" };
    const reply = await repliesOf(
      links.call(member, callOf({ body: Buffer.from("question"), onlyIfActive: true, ...of }), {
        epoch: 9,
        stale: asker,
      }),
    );
    expect(reply).toMatchObject({ status: 200, statusText: "OK", headers: ["x-a", "1", "x-a", "2"] });
    expect(await textOf(reply.body)).toBe("hällo");
    expect(seen[0]).toMatchObject({ from: asker, epoch: 9, stale: asker });
    expect(seen[0]?.call).toMatchObject({
      method: "POST",
      url: "http://localhost/sessions/chat/lobby/x?y=1",
      timeoutMs: 5_000,
      onlyIfActive: true,
      id: { key: "chat/lobby" },
      ip: "198.18.0.7",
      protocol: "chat.v2",
    });
    expect(decodeClaims(seen[0]?.call.claims ?? new Uint8Array(0))).toEqual({ user: "u1" });
    expect(seen[0]?.call.headers).toEqual(["host", "localhost", "x-twice", "1", "x-twice", "2"]);
    expect(await textOf(seen[0]?.call.body)).toBe("question");
  });

  test("carries streamed bodies both ways at once", async () => {
    const { links, member } = await pair({ call: (_, call) => replied(call.body) }, over);
    const source = counted(5_000_000, 10_000);
    const reply = await repliesOf(links.call(member, callOf({ body: source.stream }), options));
    expect(await lengthOf(reply.body)).toBe(5_000_000);
  });
});

describe("bodies", () => {
  test("a body too large to travel in the first frame arrives whole, both ways", async () => {
    const bytes = new Uint8Array(300_000).map((_, at) => at % 251);
    const { links, member } = await pair({
      call: async (_, call) => replied(new Uint8Array(await new Response(call.body as BodyInit).arrayBuffer())),
    });
    const reply = await repliesOf(links.call(member, callOf({ body: bytes }), options));
    const back = new Uint8Array(await new Response(reply.body as BodyInit).arrayBuffer());
    expect(Buffer.compare(back, bytes)).toBe(0);
  });

  test("received bytes do not lie in a buffer that holds other sessions' bytes", async () => {
    const { links, member } = await pair({ call: (_, call) => replied(call.body) });
    const outcomes = ["öh", "äh"].map((text) => links.call(member, callOf({ body: Buffer.from(text) }), options));
    for (const outcome of outcomes) {
      const { body } = await repliesOf(outcome);
      expect(body instanceof Uint8Array && body.buffer.byteLength).toBe(3);
    }
  });

  test.each([
    ["a small one of ASCII as text", "x".repeat(4_096), "string"],
    ["a larger one as bytes", "x".repeat(4_097), "object"],
    ["one of other characters as bytes", "\u0080", "object"],
  ])("the body of a reply arrives: %s", async (_, text, type) => {
    const { links, member } = await pair({ call: () => replied(Buffer.from(text)) });
    const { body } = await repliesOf(links.call(member, callOf(), options));
    expect(typeof body).toBe(type);
    expect(await textOf(body)).toBe(text);
  });

  test(
    "64 MB flow up while the producer is never far ahead of the consumer",
    { timeout: BULK_TIMEOUT_MS },
    async () => {
      let consumed = 0;
      let lead = 0;
      const source = counted(64 * 1024 * 1024);
      const { links, member } = await pair({
        call: async (_, call) => {
          if (!(call.body instanceof ReadableStream)) throw new Error("expected a stream");
          for await (const chunk of call.body) {
            consumed += chunk.byteLength;
            lead = Math.max(lead, source.pulledBytes - consumed);
          }
          return replied(String(consumed));
        },
      });
      const reply = await repliesOf(links.call(member, callOf({ body: source.stream }), options));
      expect(await textOf(reply.body)).toBe(String(64 * 1024 * 1024));
      expect(lead).toBeLessThanOrEqual(WINDOW_BYTES + 2 * CHUNK_BYTES);
    },
  );

  test(
    "64 MB flow down while the producer is never far ahead of the consumer",
    { timeout: BULK_TIMEOUT_MS },
    async () => {
      const source = counted(64 * 1024 * 1024);
      const { links, member } = await pair({ call: () => replied(source.stream) });
      const reply = await repliesOf(links.call(member, callOf(), options));
      let consumed = 0;
      for await (const chunk of reply.body as ReadableStream<Uint8Array>) {
        consumed += chunk.byteLength;
        expect(source.pulledBytes - consumed).toBeLessThanOrEqual(WINDOW_BYTES + 2 * CHUNK_BYTES);
      }
      expect(consumed).toBe(64 * 1024 * 1024);
    },
  );

  test("a producer rests when nobody reads, in both directions", async () => {
    const up = counted(Infinity);
    const down = counted(Infinity);
    const reading = signal<ReadableStreamDefaultReader<Uint8Array>>();
    const { links, member } = await pair({
      call: (_, call) => {
        if (call.body instanceof ReadableStream) reading.resolve(call.body.getReader());
        return replied(down.stream);
      },
    });
    const reply = await repliesOf(links.call(member, callOf({ body: up.stream }), options));
    const reader = await reading.promise;
    expect(up.pulledBytes).toBe(0);
    await reader.read();
    expect(await settled(() => up.pulledBytes)).toBeLessThanOrEqual(WINDOW_BYTES + 2 * CHUNK_BYTES);
    expect(await settled(() => down.pulledBytes)).toBeLessThanOrEqual(WINDOW_BYTES + 2 * CHUNK_BYTES);
    await (reply.body as ReadableStream).cancel();
  });

  test("a stalled body does not stall other calls of the link", async () => {
    const { links, member } = await pair({
      call: (_, call) => replied(call.method === "GET" ? counted(Infinity).stream : "quick"),
    });
    const stalled = await repliesOf(links.call(member, callOf({ method: "GET" }), options));
    for (let at = 0; at < 20; at++) {
      expect(await textOf((await repliesOf(links.call(member, callOf(), options))).body)).toBe("quick");
    }
    await (stalled.body as ReadableStream).cancel();
  });

  test("a response that is complete stops the request's body", async () => {
    const source = counted(Infinity);
    const { links, member } = await pair({
      call: async (_, call) => {
        if (call.body instanceof ReadableStream) await call.body.getReader().read();
        return replied("enough");
      },
    });
    const reply = await repliesOf(links.call(member, callOf({ body: source.stream }), options));
    expect(await textOf(reply.body)).toBe("enough");
    expect(source.cancelled).toMatchObject({ code: "cancelled" });
  });

  test("a reply whose source breaks off fails its reader with the same error", async () => {
    let pulls = 0;
    const broken = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++ === 0) controller.enqueue(new Uint8Array(10));
        else controller.error(new MeshError("session_killed", "turn budget"));
      },
    });
    const { links, member } = await pair({ call: () => replied(broken) });
    const reply = await repliesOf(links.call(member, callOf(), options));
    await expect(lengthOf(reply.body)).rejects.toMatchObject({ code: "session_killed", message: "turn budget" });
  });
});

describe("outcomes", () => {
  test("moved names the worker and the epoch, and leaves the body unread", async () => {
    const source = counted(1_000_000);
    const { links, member } = await pair({ call: () => ({ status: "moved", worker: asker, epoch: 12 }) });
    const call = callOf({ body: source.stream });
    expect(await links.call(member, call, options)).toEqual({ status: "moved", worker: asker, epoch: 12 });
    expect(source.pulledBytes).toBe(0);
    expect(source.stream.locked).toBe(false);
    expect(source.cancelled).toBeUndefined();
  });

  test("an error of the service travels with its code, message and pause", async () => {
    const { links, member } = await pair({
      call: () => Promise.reject(new MeshError("overloaded", "too many", { retryAfterMs: 250 })),
    });
    expect(await links.call(member, callOf(), options)).toMatchObject({
      status: "failed",
      error: { code: "overloaded", message: "too many", retryAfterMs: 250 },
    });
  });

  test("an error that the service throws at once travels too", async () => {
    const { links, member } = await pair({
      call: () => {
        throw new MeshError("unknown_kind", "no such kind");
      },
    });
    expect(await links.call(member, callOf(), options)).toMatchObject({
      status: "failed",
      error: { code: "unknown_kind" },
    });
  });

  test("a caller that goes away before the head cancels the call at the host", async () => {
    const cancelled = signal<MeshError>();
    const { links, member } = await pair({
      call: (_, call) => {
        call.onCancel((reason) => cancelled.resolve(reason));
        return signal<Served<SessionReply>>().promise;
      },
    });
    const call = callOf();
    const outcome = links.call(member, call, options);
    await links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000);
    call.cancel(new MeshError("cancelled", "the client went away"));
    expect(await outcome).toMatchObject({ status: "failed", error: { code: "cancelled" } });
    expect(await cancelled.promise).toMatchObject({ code: "cancelled", message: "the client went away" });
  });

  test("a caller that goes away within the response cancels the reply's body", async () => {
    const source = counted(Infinity);
    const { links, member } = await pair({ call: () => replied(source.stream) });
    const call = callOf();
    const reply = await repliesOf(links.call(member, call, options));
    const reader = (reply.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    call.cancel(new MeshError("cancelled", "gone"));
    await expect(reader.read()).rejects.toMatchObject({ code: "cancelled" });
    while (source.cancelled === undefined) await turn();
    expect(source.cancelled).toMatchObject({ code: "cancelled", message: "gone" });
  });

  test("a reader that cancels the response cancels the reply's body", async () => {
    const source = counted(Infinity);
    const cancelled = signal<MeshError>();
    const { links, member } = await pair({
      call: (_, call) => {
        call.onCancel((reason) => cancelled.resolve(reason));
        return replied(source.stream);
      },
    });
    const reply = await repliesOf(links.call(member, callOf(), options));
    await (reply.body as ReadableStream).cancel();
    expect(await cancelled.promise).toMatchObject({ code: "cancelled" });
    expect(source.cancelled).toMatchObject({ code: "cancelled" });
  });

  test("a request body that breaks off fails the call and cancels it at the host", async () => {
    const failed = signal<unknown>();
    const { links, member } = await pair({
      call: async (_, call) => {
        await lengthOf(call.body).catch((error: unknown) => failed.resolve(error));
        return replied("late");
      },
    });
    const broken = new ReadableStream<Uint8Array>({
      pull: () => Promise.reject(new Error("client hung up")),
    });
    expect(await links.call(member, callOf({ body: broken }), options)).toMatchObject({
      status: "failed",
      error: { code: "cancelled" },
    });
    expect(await failed.promise).toMatchObject({ code: "cancelled", message: "client hung up" });
  });

  test("1,000 calls at once each get their own answer", async () => {
    const { links, member } = await pair({
      call: async (_, call) => {
        await turn();
        return replied(call.url);
      },
    });
    const urls = Array.from({ length: 1_000 }, (_, at) => `http://localhost/${at}`);
    const bodies = await Promise.all(
      urls.map(async (url) => textOf((await repliesOf(links.call(member, callOf({ url }), options))).body)),
    );
    expect(bodies).toEqual(urls);
  });
});

describe("questions", () => {
  test("an answer longer than a frame comes whole", async () => {
    const sessions = Array.from({ length: 25_000 }, (_, at) => ({ key: `chat/${at}`, fence: { epoch: 7, claim: at } }));
    const { links, member } = await pair({ ask: () => ({ ok: true, sessions, more: false }) });
    const answer = await links.ask(member, { epoch: 7, recover: { partitions: new Uint8Array(2_048) } }, 2_000);
    expect(answer.ok).toBe(true);
    expect(answer.sessions.map((session) => session.key)).toEqual(sessions.map((session) => session.key));
    expect(answer.sessions.at(-1)?.fence).toMatchObject({ epoch: 7, claim: 24_999 });
  });

  test("no answer in time rejects with timeout", async () => {
    const { links, member } = await pair({ ask: () => signal<never>().promise });
    await expect(links.ask(member, { epoch: 7, ended: { sessions: [] } }, 50)).rejects.toMatchObject({
      code: "timeout",
    });
  });

  test("an error of the service rejects with the same code", async () => {
    const { links, member } = await pair({ ask: () => Promise.reject(new MeshError("suspended", "no lease")) });
    await expect(links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000)).rejects.toMatchObject({
      code: "suspended",
    });
  });
});
