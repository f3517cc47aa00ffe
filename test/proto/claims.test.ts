import { describe, expect, test } from "vitest";
import { CLAIMS_BYTES_MAX, decodeClaims, encodeClaims } from "../../proto/claims.ts";

describe("claims", () => {
  test("arrive as a structured clone", () => {
    const claims = { user: "u1", roles: new Set(["editor"]), since: new Date(0), deep: { list: [1, undefined] } };
    expect(decodeClaims(encodeClaims(claims))).toEqual(claims);
  });

  test("are bounded", () => {
    expect(() => encodeClaims({ text: "x".repeat(CLAIMS_BYTES_MAX) })).toThrow(
      expect.objectContaining({ code: "bad_app", message: expect.stringContaining("may take 16384") }),
    );
    expect(encodeClaims({ text: "x".repeat(CLAIMS_BYTES_MAX - 100) }).byteLength).toBeLessThanOrEqual(CLAIMS_BYTES_MAX);
  });

  test("with a function in them cannot be passed on", () => {
    expect(() => encodeClaims({ check: () => true })).toThrow("could not be cloned");
  });

  test.each([
    ["no bytes", new Uint8Array(0)],
    ["other bytes", Uint8Array.of(1, 2, 3)],
    ["bytes cut short", encodeClaims({ user: "u1" }).subarray(0, 8)],
  ])("made of %s are refused", (_, bytes) => {
    expect(() => decodeClaims(bytes)).toThrow(expect.objectContaining({ code: "bad_frame" }));
  });
});
