import { describe, expect, test } from "vitest";
import { MeshError, type Frame } from "#proto";
import { Asker } from "../../../mesh/link/asker.ts";
import { BatchWriter } from "../../../mesh/link/batch-writer.ts";
import { Inbox } from "../../../mesh/link/inbox.ts";
import { FakeClient, callOf, options } from "./loopback.ts";

/** A stream that keeps what is written, and is full after `capacity` batches. */
function fakeStream(capacity = Infinity) {
  const batches: (readonly Frame[])[] = [];
  return { batches, write: (batch: readonly Frame[]) => batches.push(batch) < capacity, close: () => {} };
}

function recorder() {
  const frames: Frame[] = [];
  return { frames, overloaded: false, ready: () => undefined, write: (frame: Frame) => void frames.push(frame) };
}

const head = { status: 200, statusText: "OK", headers: [], body: new Uint8Array(0), streamed: false };
const pause = () => new Promise((resolve) => setImmediate(resolve));
const dataOf = (stream: number, bytes: number): Frame => ({
  stream,
  type: "data",
  data: { bytes: new Uint8Array(bytes), end: false },
});

describe("the asking side", () => {
  test("a head that is late by more than the grace fails the call with timeout, and tells the host", async () => {
    const writer = recorder();
    const asker = new Asker(writer);
    const outcome = asker.call(callOf({ timeoutMs: 1_000 }), options);
    asker.sweep(performance.now() + 5_900);
    expect(writer.frames.map((frame) => frame.type)).toEqual(["open"]);
    asker.sweep(performance.now() + 6_100);
    expect(await outcome).toMatchObject({ status: "failed", error: { code: "timeout" } });
    expect(writer.frames.at(-1)).toMatchObject({ type: "reset", stream: 1, reset: { code: "timeout" } });
  });

  test("a head in time is not swept away later", async () => {
    const asker = new Asker(recorder());
    const outcome = asker.call(callOf({ timeoutMs: 1_000 }), options);
    asker.receive({ stream: 1, type: "head", head: { ...head, streamed: true } });
    asker.sweep(performance.now() + 60_000);
    const settled = await outcome;
    if (settled.status !== "reply" || !(settled.reply.body instanceof ReadableStream)) throw new Error(settled.status);
    asker.receive({ stream: 1, type: "data", data: { bytes: new Uint8Array(3), end: true } });
    expect(await new Response(settled.reply.body).bytes()).toHaveLength(3);
  });

  test("when the link breaks, a call whose first frame never left is unreached, and one that left has failed", async () => {
    const stream = fakeStream();
    const writer = new BatchWriter(stream, () => {});
    const asker = new Asker(writer);
    const gone = asker.call(callOf(), options);
    const goneSocket = asker.connect(callOf(), new FakeClient(), options);
    writer.flush();
    const waiting = asker.call(callOf(), options);
    const waitingSocket = asker.connect(callOf(), new FakeClient(), options);
    asker.broken(new MeshError("session_lost", "cut"), writer.abandon());
    expect((await Promise.all([gone, goneSocket, waiting, waitingSocket])).map((outcome) => outcome.status)).toEqual([
      "failed",
      "failed",
      "unreached",
      "unreached",
    ]);
    expect(stream.batches).toHaveLength(1);
  });

  test("a call that was cancelled before it is sent is not sent", async () => {
    const writer = recorder();
    const call = callOf();
    call.cancel(new MeshError("cancelled", "gone"));
    expect(await new Asker(writer).call(call, options)).toMatchObject({
      status: "failed",
      error: { code: "cancelled" },
    });
    expect(writer.frames).toEqual([]);
  });

  test("a link that is far behind takes no new calls", async () => {
    const asker = new Asker({ ...recorder(), overloaded: true });
    expect(await asker.call(callOf(), options)).toMatchObject({ status: "failed", error: { code: "overloaded" } });
    await expect(asker.ask({ epoch: 1, ended: { sessions: [] } }, 100)).rejects.toMatchObject({ code: "overloaded" });
  });

  test("two heads for one call break the protocol; frames for a call that is over do not", async () => {
    const asker = new Asker(recorder());
    const first = asker.call(callOf(), options);
    void asker.call(callOf(), options);
    asker.receive({ stream: 1, type: "head", head });
    await first;
    asker.receive(dataOf(1, 5));
    asker.receive({ stream: 2, type: "head", head: { ...head, streamed: true } });
    expect(() => asker.receive({ stream: 2, type: "head", head })).toThrow(
      expect.objectContaining({ code: "bad_frame" }),
    );
  });
});

describe("the batch writer", () => {
  test("frames of one turn leave in one batch, in order", async () => {
    const stream = fakeStream();
    const writer = new BatchWriter(stream, () => {});
    for (let at = 1; at <= 100; at++) writer.write(dataOf(at, 10));
    expect(stream.batches).toHaveLength(0);
    await pause();
    expect(stream.batches.map((batch) => batch.map((frame) => frame.stream))).toEqual([
      Array.from({ length: 100 }, (_, at) => at + 1),
    ]);
  });

  test("a batch is bounded in bytes", async () => {
    const stream = fakeStream();
    const writer = new BatchWriter(stream, () => {});
    for (let at = 1; at <= 16; at++) writer.write(dataOf(at, 64 * 1024));
    await pause();
    expect(stream.batches.length).toBeGreaterThanOrEqual(4);
    expect(stream.batches.flat()).toHaveLength(16);
  });

  test("a full stream is left alone until it drains, and producers wait meanwhile", async () => {
    const stream = fakeStream(1);
    let overflowed = false;
    const writer = new BatchWriter(stream, () => {
      overflowed = true;
    });
    for (let at = 0; at < 40; at++) writer.write(dataOf(at, 64 * 1024));
    await pause();
    expect(stream.batches).toHaveLength(1);
    const ready = writer.ready();
    expect(ready).toBeInstanceOf(Promise);
    for (let at = 0; at < 20; at++) writer.drained();
    await ready;
    expect(stream.batches.flat()).toHaveLength(40);
    expect(overflowed).toBe(false);
  });

  test("a peer that never reads is given up before it takes the memory", () => {
    let overflowed = false;
    const writer = new BatchWriter(fakeStream(0), () => {
      overflowed = true;
    });
    writer.flush();
    for (let at = 0; at < 1_100; at++) {
      writer.write(dataOf(at, 64 * 1024));
      if (at === 300) expect(writer.overloaded).toBe(true);
    }
    expect(overflowed).toBe(true);
  });
});

test("frames behind one whose handling was cut short are handled by the next drain, once", () => {
  const handled: number[] = [];
  const inbox = new Inbox((frame) => {
    if (frame.stream === 2) throw new Error("terminated");
    handled.push(frame.stream);
  });
  expect(() => inbox.push([dataOf(1, 1), dataOf(2, 1), dataOf(3, 1)])).toThrow("terminated");
  inbox.push([dataOf(4, 1)]);
  expect(handled).toEqual([1, 3, 4]);
});
