import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeLease, decodeView, encodeLease, encodeView, membersOf, parseWorkerId, slotOf, nodeOf } from "#proto";
import { leases, mangled, views } from "./arbitrary.ts";

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

const worker = {
  index: 0,
  incarnation: "x1",
  address: { host: "127.0.0.1", port: 7000, socket: "/tmp/w.sock", lifeline: 7001 },
};
const node = {
  id: "n1",
  incarnation: "i1",
  role: "host",
  state: "up",
  machine: "m",
  zone: "",
  labels: { disk: "ssd" },
  gateway: "http://127.0.0.1:8080",
  admin: "",
  lifeline: { host: "127.0.0.1", port: 7001 },
  pid: 1,
  workers: [worker],
};
const view = { epoch: 4, founding: "2026-11-23T00:00:00.000Z/i1", opId: "op", nodes: [node] };
const load = { index: 0, sessions: 3, utilisation: 0.5, rssBytes: 1, lagMs: 0.1 };
const loads = [load, { ...load, index: 1, full: true }];
const lease = { state: "live", incarnation: "i1", beat: 9, epoch: 4, view: "v", opId: "op", load: loads };

describe.each([
  { what: "a view", decode: decodeView, sound: view, encoded: views.map(encodeView) },
  { what: "a lease", decode: decodeLease, sound: lease, encoded: leases.map(encodeLease) },
])("$what", ({ decode, sound, encoded }) => {
  test("comes back as it was written", () => {
    expect(decode(json(sound))).toEqual(sound);
  });

  test("that is mangled is refused with bad_frame or read as another one, and nothing else is thrown", () => {
    fc.assert(
      fc.property(mangled(encoded), (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toMatchObject({ name: "MeshError", code: "bad_frame" });
        }
      }),
      { numRuns: 500 },
    );
  });

  test("whose fields are any JSON values is refused with bad_frame or read", () => {
    const fields = fc.record(Object.fromEntries(Object.keys(sound).map((key) => [key, fc.jsonValue()])), {
      requiredKeys: [],
    });
    fc.assert(
      fc.property(fields, fc.constantFrom(...Object.keys(sound)), (foreign, key) => {
        for (const value of [foreign, { ...sound, [key]: foreign[key] }]) {
          try {
            decode(json(value));
          } catch (error) {
            expect(error).toMatchObject({ name: "MeshError", code: "bad_frame" });
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  test("without one of its fields is refused, and the error names the field", () => {
    for (const key of Object.keys(sound)) {
      const { [key as keyof typeof sound]: _, ...rest } = sound;
      expect(() => decode(json(rest))).toThrow(
        expect.objectContaining({ code: "bad_frame", message: expect.stringContaining(key) }),
      );
    }
  });

  test.each(["", "null", "[]", "7", '"text"', "{", "[".repeat(100_000)])("is not %.20s", (text) => {
    expect(() => decode(Buffer.from(text))).toThrow(expect.objectContaining({ code: "bad_frame" }));
  });

  test("keeps no field that it does not know", () => {
    expect(decode(json({ ...sound, later: true }))).toEqual(sound);
  });
});

test("a worker of an earlier version has no lifeline", () => {
  const text = JSON.stringify(view).replace(',"lifeline":7001', "");
  expect(decodeView(Buffer.from(text)).nodes[0]?.workers[0]?.address.lifeline).toBe(0);
});

test("every view comes back as it was written", () => {
  fc.assert(
    fc.property(views, (value) => {
      expect(decodeView(encodeView(value))).toEqual(value);
    }),
  );
});

test("every lease comes back as it was written", () => {
  fc.assert(
    fc.property(leases, (value) => {
      expect(decodeLease(encodeLease(value))).toEqual(value);
    }),
  );
});

test("a label named __proto__ is a label and touches no prototype", () => {
  const labels = JSON.parse('{"__proto__":"x"}') as Record<string, string>;
  const decoded = decodeView(json({ ...view, nodes: [{ ...node, labels }] }));
  expect(Object.entries(decoded.nodes[0]!.labels)).toEqual([["__proto__", "x"]]);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
});

test.each([
  ["a node twice", { nodes: [node, node] }],
  ["a worker index twice", { nodes: [{ ...node, workers: [worker, { ...worker, incarnation: "x2" }] }] }],
  ["a node id with a slash", { nodes: [{ ...node, id: "a/b" }] }],
  ["an incarnation that no worker id can hold", { nodes: [{ ...node, workers: [{ ...worker, incarnation: "a@b" }] }] }],
  ["a worker index that no worker id can hold", { nodes: [{ ...node, workers: [{ ...worker, index: 10_000 }] }] }],
  [
    "a port above 65535",
    { nodes: [{ ...node, workers: [{ ...worker, address: { ...worker.address, port: 65_536 } }] }] },
  ],
  ["a lifeline at no port", { nodes: [{ ...node, lifeline: { host: "127.0.0.1", port: 65_536 } }] }],
  ["a state that is none", { nodes: [{ ...node, state: "gone" }] }],
  ["an epoch of -1", { epoch: -1 }],
  ["an epoch of 1.5", { epoch: 1.5 }],
  ["an epoch above what a double counts", { epoch: 2 ** 53 }],
])("a view with %s is refused", (_, change) => {
  expect(() => decodeView(json({ ...view, ...change }))).toThrow(expect.objectContaining({ code: "bad_frame" }));
});

test("every member of a decoded view has an id that peers accept, and that names its slot and node", () => {
  fc.assert(
    fc.property(views, (value) => {
      for (const member of membersOf(decodeView(encodeView(value)))) {
        expect(parseWorkerId(member.id)).toBe(member.id);
        expect(slotOf(member.id)).toBe(member.slot);
        expect(nodeOf(member.id)).toBe(member.node.id);
      }
    }),
  );
});

test.each(["", "n1", "n1/0", "n1/x@1", "n1/0@", "/0@x", "n1/0@x y", "n1/0@x\n", `${"n".repeat(65)}/0@x`])(
  "%j is not a worker id",
  (text) => {
    expect(() => parseWorkerId(text)).toThrow(expect.objectContaining({ code: "bad_frame" }));
  },
);
