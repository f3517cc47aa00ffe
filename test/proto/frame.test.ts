import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, test } from "vitest";
import { MeshError, decodeBatch, encodeBatch, type Frame } from "#proto";
import { frames, mangled } from "./arbitrary.ts";
import { asSent, plain } from "./as-sent.ts";

const schema = protobuf.loadSync(new URL("../../proto/mesh.proto", import.meta.url).pathname);
const batchType = schema.lookupType("sessionmesh.v1.Batch");

/** What a peer could send that our own encoder never would. */
function decodeRaw(...raw: object[]): Frame[] {
  return decodeBatch(batchType.encode({ frames: raw }).finish());
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof MeshError ? error.code : `not a MeshError: ${String(error)}`;
  }
  return "nothing was thrown";
}

describe("a batch of frames", () => {
  test("comes back as it was sent", () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 8, size: "max" }), (batch) => {
        expect(asSent(decodeBatch(encodeBatch(batch)), batch)).toEqual(plain(batch));
      }),
    );
  });

  test("that is mangled is refused with bad_frame or read as other frames, and nothing else is thrown", () => {
    const encoded = fc.array(frames, { minLength: 1, maxLength: 4 }).map((batch) => encodeBatch(batch));
    fc.assert(
      fc.property(mangled(encoded), (bytes) => {
        try {
          for (const frame of decodeBatch(bytes)) expect(frame).toHaveProperty(frame.type);
        } catch (error) {
          expect(error).toMatchObject({ name: "MeshError", code: "bad_frame" });
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("that ends in the middle of a frame is refused", () => {
    const whole = encodeBatch([{ stream: 7, type: "view", view: { epoch: 3 } }]);
    for (let length = 1; length < whole.length; length++) {
      expect(codeOf(() => decodeBatch(whole.subarray(0, length)))).toBe("bad_frame");
    }
  });

  test("of thousands of nested groups is refused without running out of stack", () => {
    expect(codeOf(() => decodeBatch(new Uint8Array(100_000).fill(0x0b)))).toBe("bad_frame");
  });

  test("may be empty", () => {
    expect(decodeBatch(new Uint8Array(0))).toEqual([]);
    expect(decodeBatch(encodeBatch([]))).toEqual([]);
  });
});

describe("a frame is refused with bad_frame", () => {
  test("without a body, or with one of an unknown type", () => {
    expect(codeOf(() => decodeRaw({ stream: 1 }))).toBe("bad_frame");
    // Field 99 of Frame, length-delimited, empty.
    expect(codeOf(() => decodeBatch(Uint8Array.from([0x0a, 3, 0x9a, 0x06, 0])))).toBe("bad_frame");
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, 2 ** 53])("when its epoch is %s", (epoch) => {
    expect(codeOf(() => decodeRaw({ view: { epoch } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ hello: { epoch } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ open: { epoch } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ moved: { epoch } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { epoch, place: { key: "a/b" } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { grant: { key: "a/b", fence: { epoch } } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ answer: { sessions: [{ key: "a/b", fence: { claim: epoch } }] } }))).toBe(
      "bad_frame",
    );
  });

  test.each([Number.NaN, -1])("when its time is %s milliseconds", (ms) => {
    expect(codeOf(() => decodeRaw({ open: { timeoutMs: ms } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ reset: { retryAfterMs: ms } }))).toBe("bad_frame");
  });

  test("when it asks to be tried again never, but not when a request has no time-out", () => {
    expect(codeOf(() => decodeRaw({ reset: { retryAfterMs: Infinity } }))).toBe("bad_frame");
    expect(decodeRaw({ open: { timeoutMs: Infinity } })).toMatchObject([{ open: { timeoutMs: Infinity } }]);
  });

  test("when a header has no value", () => {
    expect(codeOf(() => decodeRaw({ open: { headers: ["accept"] } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ head: { status: 200, headers: ["a", "1", "b"] } }))).toBe("bad_frame");
  });

  test("when its status or close code is none", () => {
    expect(codeOf(() => decodeRaw({ head: { status: 99 } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ head: { status: 1_000 } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ close: { code: 65_536 } }))).toBe("bad_frame");
  });

  test("when it asks nothing or two things at once", () => {
    expect(codeOf(() => decodeRaw({ ask: { epoch: 1 } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { place: { key: "a/b" }, ended: {} } }))).toBe("bad_frame");
  });

  test("but not for asking any one question that the schema knows", () => {
    const fence = { epoch: 1, claim: 1 };
    const questions = schema.lookupType("sessionmesh.v1.Ask").fieldsArray.filter((field) => field.name !== "epoch");
    expect(questions.length).toBeGreaterThan(3);
    for (const { name } of questions) {
      expect(decodeRaw({ ask: { epoch: 1, [name]: { key: "a/b", fence, operation: "get" } } }), name).toHaveLength(1);
    }
  });

  test("when it relays what the registry does not do, or what came of it is nothing that can", () => {
    expect(codeOf(() => decodeRaw({ ask: { relay: { key: "view", operation: "drop" } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { relay: { key: "view", operation: "get", revision: 0.5 } } }))).toBe(
      "bad_frame",
    );
    expect(codeOf(() => decodeRaw({ answer: { relayed: { outcome: "perhaps" } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ answer: { relayed: { outcome: "none", epoch: -1 } } }))).toBe("bad_frame");
  });

  test("when a fence is missing", () => {
    expect(codeOf(() => decodeRaw({ ask: { grant: { key: "a/b" } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { locate: { key: "a/b" } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ ask: { ended: { sessions: [{ key: "a/b" }] } } }))).toBe("bad_frame");
    expect(codeOf(() => decodeRaw({ answer: { sessions: [{ key: "a/b" }] } }))).toBe("bad_frame");
  });
});

test("fields that a peer left out have their empty value, bytes as an empty Buffer", () => {
  const [open, head, data, message, ask] = decodeRaw(
    { open: {} },
    { head: { status: 200 } },
    { data: {} },
    { message: {} },
    { ask: { recover: {} } },
  );
  expect(open).toMatchObject({
    type: "open",
    stream: 0,
    open: { key: "", headers: [], timeoutMs: 0, streamed: false },
  });
  const bodies = [
    open?.type === "open" && open.open.body,
    head?.type === "head" && head.head.body,
    data?.type === "data" && data.data.bytes,
    message?.type === "message" && message.message.bytes,
    ask?.type === "ask" && ask.ask.recover?.partitions,
  ];
  for (const body of bodies) expect(Buffer.isBuffer(body) && body.length === 0).toBe(true);
});

test("decoded bytes are views into the batch, not copies", () => {
  const batch = encodeBatch([{ stream: 1, type: "data", data: { bytes: Buffer.from("hello"), end: false } }]);
  const [frame] = decodeBatch(batch);
  batch.write("J", batch.indexOf("hello"));
  expect(frame?.type === "data" && Buffer.from(frame.data.bytes).toString()).toBe("Jello");
});
