import fc from "fast-check";
import { unicode } from "../unicode.ts";
import { describe, expect, test } from "vitest";
import { NAME_BYTES_MAX, isKind, parseSessionId, parseSessionKey } from "#proto";
import { sessionIds } from "./arbitrary.ts";

const badName = expect.objectContaining({ name: "MeshError", code: "bad_name" });

test("a key parses back to the id that it came from", () => {
  fc.assert(
    fc.property(sessionIds, (id) => {
      expect(parseSessionKey(id.key)).toEqual(id);
    }),
  );
});

test("two sessions never share a key", () => {
  fc.assert(
    fc.property(sessionIds, sessionIds, (a, b) => {
      expect(a.key === b.key).toBe(a.kind === b.kind && a.name === b.name);
    }),
  );
});

test("any two strings are a session id or refused with bad_name, and nothing else is thrown", () => {
  const anything = fc.oneof(fc.string({ unit: unicode }), fc.string(), fc.string({ minLength: 80, maxLength: 400 }));
  const units = fc.array(fc.nat(0xffff), { maxLength: 10 }).map((codes) => String.fromCharCode(...codes));
  fc.assert(
    fc.property(fc.oneof(anything, fc.constant("chat")), fc.oneof(anything, units), (kind, name) => {
      try {
        const { key } = parseSessionId(kind, name);
        expect(key).toBe(`${kind}/${name}`);
        // It can travel: what UTF-8 makes of it is the same name again.
        expect(Buffer.from(key).toString()).toBe(key);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(NAME_BYTES_MAX);
      } catch (error) {
        expect(error).toEqual(badName);
      }
    }),
    { numRuns: 1_000 },
  );
});

describe("a kind", () => {
  test.each(["a", "chat", "chat-room", "chat_room2", "a".repeat(64)])("may be %s", (kind) => {
    expect(isKind(kind)).toBe(true);
  });

  test.each(["", "Chat", "1chat", "-chat", "_chat", "ch at", "chat/", "café", "chat\n", "a".repeat(65), "__proto__"])(
    "may not be %j",
    (kind) => {
      expect(isKind(kind)).toBe(false);
      expect(() => parseSessionId(kind, "lobby")).toThrow(badName);
    },
  );
});

describe("a name", () => {
  test.each([
    "a",
    "lobby 1",
    "a/b/c",
    "/",
    "café",
    "日本語",
    "👩‍👩‍👧",
    "%2f",
    "..",
    "x".repeat(256),
    "é".repeat(128),
    "😀".repeat(64),
  ])("may be %s", (name) => {
    expect(parseSessionId("chat", name).name).toBe(name);
  });

  test.each([
    ["empty", ""],
    ["257 bytes of ASCII", "x".repeat(257)],
    ["257 bytes in 129 characters", `x${"é".repeat(128)}`],
    ["258 bytes in 86 characters", "語".repeat(86)],
    ["a line feed", "a\nb"],
    ["a NUL", "a\0"],
    ["an escape", "\u001b[31m"],
    ["a delete", "\u007f"],
    ["the 8-bit form of an escape sequence's begin", "\u009b31m"],
    ["a high surrogate alone", "a\ud83d"],
    ["a low surrogate alone", "\ude00a"],
    ["surrogates in the wrong order", "\ude00\ud83d"],
  ])("may not be or hold %s", (_, name) => {
    expect(() => parseSessionId("chat", name)).toThrow(badName);
  });
});

test("a key without a slash is refused, and the message shows how one looks", () => {
  expect(() => parseSessionKey("lobby")).toThrow(/kind\/name/);
});

test("what is refused is quoted in the message only in part", () => {
  const kind = "K".repeat(10_000);
  expect(() => parseSessionId(kind, "a")).toThrow(
    expect.objectContaining({ message: expect.stringMatching(/^.{1,250}$/) }),
  );
});
