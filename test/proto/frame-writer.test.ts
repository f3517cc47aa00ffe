import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeAnyBatch, decodeBatch, type Frame } from "../../proto/frame.ts";
import { writeBatch } from "../../proto/frame-writer.ts";
import { asSent, plain } from "./as-sent.ts";
import { unicode } from "../unicode.ts";

// Short and long, ASCII and not: each is written in another way.
const text = fc.oneof(
  fc.string({ unit: "binary-ascii", maxLength: 300 }),
  fc.string({ unit: unicode, maxLength: 60 }),
  fc.constant(`${"x".repeat(39)}ä`),
);
const bytes = fc.uint8Array({ maxLength: 300 });
const uint32 = fc.oneof(fc.nat(300), fc.nat(0x4000), fc.nat(0x20_0000), fc.nat(0x1000_0000), fc.constant(0xffff_ffff));
const headers = fc.array(fc.tuple(text, text), { maxLength: 5 }).map((pairs) => pairs.flat());

const usual: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    stream: uint32,
    type: fc.constant("open" as const),
    open: fc.record({
      epoch: fc.maxSafeNat(),
      key: text,
      method: text,
      url: text,
      headers,
      upgrade: fc.boolean(),
      onlyIfActive: fc.boolean(),
      timeoutMs: fc.oneof(fc.constant(Infinity), fc.double({ min: 0, noNaN: true })),
      body: bytes,
      streamed: fc.boolean(),
      stale: text,
      ip: text,
      claims: bytes,
      protocol: text,
    }),
  }),
  fc.record({
    stream: uint32,
    type: fc.constant("head" as const),
    head: fc.record({
      status: fc.integer({ min: 100, max: 999 }),
      statusText: text,
      headers,
      body: bytes,
      streamed: fc.boolean(),
    }),
  }),
  fc.record({
    stream: uint32,
    type: fc.constant("message" as const),
    message: fc.record({ bytes, binary: fc.boolean() }),
  }),
  fc.record({ stream: uint32, type: fc.constant("credit" as const), credit: fc.record({ bytes: uint32 }) }),
);

function open(part: Partial<Extract<Frame, { type: "open" }>["open"]>): Frame {
  return {
    stream: 1,
    type: "open",
    open: {
      epoch: 1,
      key: "chat/lobby",
      method: "GET",
      url: "http://localhost/",
      headers: [],
      upgrade: false,
      onlyIfActive: false,
      timeoutMs: 0,
      body: new Uint8Array(0),
      streamed: false,
      stale: "",
      ip: "",
      claims: new Uint8Array(0),
      protocol: "",
      ...part,
    },
  };
}

/** As the generated decoder reads what the generated encoder wrote. */
function expectSame(batch: readonly Frame[]): void {
  const written = writeBatch(batch);
  if (written === undefined) throw new Error("left to the generated encoder");
  expect(asSent(decodeBatch(written), batch)).toEqual(plain(batch));
  expect(asSent(decodeBatch(encodeAnyBatch(batch)), batch)).toEqual(plain(batch));
}

describe("what is written by hand", () => {
  test("reads as what the generated encoder writes", () => {
    fc.assert(fc.property(fc.array(usual, { maxLength: 8 }), expectSame));
  });

  test("may be far larger than usual, and the next batch too", () => {
    const large = open({ url: `http://localhost/${"ä".repeat(100_000)}` });
    expectSame([open({}), large, open({})]);
    expectSame([open({})]);
    expectSame(Array.from({ length: 2_000 }, (_, at) => ({ ...open({ key: `chat/${at}` }), stream: at })));
  });

  test("has memory of its own", () => {
    const first = writeBatch([open({ key: "chat/first" })]);
    writeBatch([open({ key: "chat/other" })]);
    expect(first && decodeBatch(first)).toMatchObject([{ open: { key: "chat/first" } }]);
  });
});

test("what is rare or large is left to the generated encoder", () => {
  expect(writeBatch([open({}), { stream: 0, type: "view", view: { epoch: 1 } }])).toBeUndefined();
  expect(writeBatch([open({ body: new Uint8Array(5_000) })])).toBeUndefined();
});
