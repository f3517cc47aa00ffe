import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MeshError, errorKinds, isErrorCode, messageOf, problemOf, type ErrorCode } from "#proto";

const codes = Object.keys(errorKinds).filter(isErrorCode);

/** `## code` sections of docs/errors.md with the table row `| HTTP | gRPC | retryable |` below each. */
function documented(): { code: string; http: number; grpc: number; retryable: string }[] {
  const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
  return [...page.matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) [A-Z_]+ \| (yes|no) \|/gm)].map(
    ([, code = "", http, grpc, retryable = ""]) => ({ code, http: Number(http), grpc: Number(grpc), retryable }),
  );
}

describe.each(codes)("%s", (code) => {
  const kind = errorKinds[code];

  test("has an HTTP error status, a gRPC status that is not OK, and a title", () => {
    expect(kind.http).toBeGreaterThanOrEqual(400);
    expect(kind.http).toBeLessThan(600);
    expect(kind.grpc).toBeGreaterThanOrEqual(1);
    expect(kind.grpc).toBeLessThanOrEqual(16);
    expect(kind.title).toMatch(/^[A-Z].*[^.]$/);
  });

  test("is never retryable when the fault is in the request", () => {
    // Too many of them is no fault of any one.
    if (kind.http < 500 && kind.http !== 429) expect(kind.retryable).toBe(false);
  });

  test("has problem details that say the same", () => {
    const problem = problemOf(new MeshError(code, "why", { session: "chat/lobby", node: "n1" }));
    expect(problem).toEqual({
      type: `urn:sessionmesh:error:${code}`,
      title: kind.title,
      status: kind.http,
      detail: "why",
      code,
      retryable: kind.retryable,
      session: "chat/lobby",
      node: "n1",
    });
  });
});

test("docs/errors.md lists every code exactly once, with the status that it has", () => {
  const expected = codes.map((code) => {
    const { http, grpc, retryable } = errorKinds[code];
    return { code, http, grpc, retryable: retryable ? "yes" : "no" };
  });
  const byCode = (a: { code: string }, b: { code: string }) => a.code.localeCompare(b.code);
  expect(documented().sort(byCode)).toEqual(expected.sort(byCode));
});

test("the set of codes is closed: nothing inherited is a code", () => {
  for (const name of ["constructor", "toString", "__proto__", "", 500, null, undefined])
    expect(isErrorCode(name)).toBe(false);
});

test("an error that says nothing of its session and node has no such members in its problem details", () => {
  expect(Object.keys(problemOf(new MeshError("timeout", "late")))).not.toContain("session");
});

describe("any thrown value", () => {
  const hostile = new Proxy(
    {},
    {
      getPrototypeOf() {
        throw new Error("no prototype for you");
      },
      get() {
        throw new Error("no property for you");
      },
    },
  );
  const liar = Object.defineProperty(new Error("x"), "message", {
    get() {
      throw new Error("no message for you");
    },
  });
  const thrown: [string, unknown][] = [
    ["an Error", new TypeError("x")],
    ["a string", "x"],
    ["undefined", undefined],
    ["a symbol", Symbol("x")],
    ["an object without a prototype", Object.create(null)],
    ["an error whose message throws", liar],
    ["a proxy that throws at every touch", hostile],
  ];

  test.each(thrown)("becomes a MeshError with the value as its cause: %s", (_, value) => {
    const error = MeshError.from(value, "session_crashed", { session: "chat/lobby" });
    expect(error.code satisfies ErrorCode).toBe("session_crashed");
    expect(error.session).toBe("chat/lobby");
    expect(typeof error.message).toBe("string");
    expect(Object.is(error.cause, value)).toBe(true);
  });

  test("stays as it is when it is a MeshError", () => {
    const error = new MeshError("no_host", "x");
    expect(MeshError.from(error, "internal")).toBe(error);
  });

  test("of any size has a message of bounded size", () => {
    expect(messageOf("x".repeat(1_000_000)).length).toBeLessThan(3_000);
    expect(MeshError.from(new Error("x".repeat(1_000_000))).message.length).toBeLessThan(3_000);
  });
});
