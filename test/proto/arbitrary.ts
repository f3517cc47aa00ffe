// Generators of everything the protocol can carry, for the property tests of the codecs.

import fc from "fast-check";
import { unicode } from "../unicode.ts";
import {
  parseSessionId,
  type Fence,
  type Frame,
  type HostedSession,
  type Lease,
  type NodeRecord,
  type SessionId,
  type View,
  type WorkerRecord,
} from "#proto";

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);
/** Text as it comes: any unicode, no lone surrogates, which no wire form can carry. */
const prose = fc.string({ unit: unicode, maxLength: 20 });
const whole = fc.maxSafeNat();
/** Never -0: JSON has no such number. */
const measure = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value));

export const sessionIds: fc.Arbitrary<SessionId> = fc
  .record({
    kind: fc.stringMatching(/^[a-z][a-z0-9_-]{0,63}$/),
    name: fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
      .filter((name) => Buffer.byteLength(name) <= 256 && !/[\u0000-\u001f\u007f-\u009f]/.test(name)),
  })
  .map(({ kind, name }) => parseSessionId(kind, name));

const workers = (max: number): fc.Arbitrary<WorkerRecord[]> =>
  fc.uniqueArray(
    fc.record({
      index: fc.nat(255),
      incarnation: token,
      address: fc.record({ host: prose, port: fc.nat(65_535), socket: prose, lifeline: fc.nat(65_535) }),
    }),
    { maxLength: max, selector: (worker) => worker.index },
  );

const nodes: fc.Arbitrary<NodeRecord> = fc.record({
  id: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/),
  incarnation: token,
  role: fc.constantFrom("host", "gateway"),
  state: fc.constantFrom("up", "draining"),
  machine: prose,
  zone: prose,
  labels: fc.dictionary(prose, prose, { maxKeys: 3, noNullPrototype: true }),
  gateway: prose,
  admin: prose,
  lifeline: fc.record({ host: prose, port: fc.nat(65_535) }),
  pid: whole,
  workers: workers(4),
});

export const views: fc.Arbitrary<View> = fc.record(
  {
    epoch: whole,
    founding: prose,
    opId: token,
    nodes: fc.uniqueArray(nodes, { maxLength: 4, selector: (node) => node.id }),
    departed: fc.array(token, { maxLength: 4 }),
  },
  { requiredKeys: ["epoch", "founding", "opId", "nodes"] },
);

export const leases: fc.Arbitrary<Lease> = fc.oneof(
  fc.record({
    state: fc.constant("live" as const),
    incarnation: token,
    beat: whole,
    epoch: whole,
    view: token,
    opId: token,
    load: fc.array(
      fc.record({ index: fc.nat(255), sessions: whole, utilisation: measure, rssBytes: whole, lagMs: measure }),
      { maxLength: 4 },
    ),
  }),
  fc.record({ state: fc.constant("evicted" as const), incarnation: token, by: token, opId: token }),
);

const fences: fc.Arbitrary<Fence> = fc.record({ epoch: whole, claim: whole });
const hosted: fc.Arbitrary<HostedSession[]> = fc.array(fc.record({ key: prose, fence: fences }), { maxLength: 3 });
const headers = fc.array(fc.tuple(prose, prose), { maxLength: 3 }).map((pairs) => pairs.flat());
const stream = fc.nat(0xffffffff);

const asks = fc.oneof(
  fc.record({ epoch: whole, recover: fc.record({ partitions: bytes }) }),
  fc.record({ epoch: whole, grant: fc.record({ key: prose, fence: fences }) }),
  fc.record({ epoch: whole, locate: fc.record({ key: prose, fence: fences }) }),
  fc.record({ epoch: whole, place: fc.record({ key: prose }) }),
  fc.record({ epoch: whole, ended: fc.record({ sessions: hosted }) }),
  fc.record({ epoch: whole, contact: fc.record({ node: prose, incarnation: prose }) }),
  fc.record({
    epoch: whole,
    relay: fc.record({
      operation: fc.constantFrom("get", "create", "update", "remove"),
      key: prose,
      value: bytes,
      revision: whole,
    }),
  }),
);

function frameOf(type: Frame["type"], body: fc.Arbitrary<unknown>): fc.Arbitrary<Frame> {
  return fc.tuple(stream, body).map(([at, value]) => ({ stream: at, type, [type]: value }) as unknown as Frame);
}

export const frames: fc.Arbitrary<Frame> = fc.oneof(
  frameOf("hello", fc.record({ from: prose, to: prose, epoch: whole, mesh: prose })),
  frameOf(
    "open",
    fc.record({
      epoch: whole,
      key: prose,
      method: prose,
      url: prose,
      headers,
      upgrade: fc.boolean(),
      onlyIfActive: fc.boolean(),
      timeoutMs: measure,
      body: bytes,
      streamed: fc.boolean(),
      stale: prose,
      ip: prose,
      claims: bytes,
      protocol: prose,
    }),
  ),
  frameOf(
    "head",
    fc.record({
      status: fc.integer({ min: 100, max: 999 }),
      statusText: prose,
      headers,
      body: bytes,
      streamed: fc.boolean(),
    }),
  ),
  frameOf("moved", fc.record({ worker: prose, epoch: whole })),
  frameOf("data", fc.record({ bytes, end: fc.boolean() })),
  frameOf("message", fc.record({ bytes, binary: fc.boolean() })),
  frameOf("credit", fc.record({ bytes: fc.nat(0xffffffff) })),
  frameOf("close", fc.record({ code: fc.nat(65_535), reason: prose, clean: fc.boolean() })),
  frameOf("reset", fc.record({ code: prose, message: prose, retryAfterMs: measure })),
  frameOf("ask", asks),
  frameOf("answer", fc.record({ ok: fc.boolean(), sessions: hosted, more: fc.boolean() })),
  frameOf(
    "answer",
    fc.record({
      ok: fc.boolean(),
      sessions: hosted,
      more: fc.boolean(),
      relayed: fc.record({
        outcome: fc.constantFrom("away", "entry", "none", "written", "conflict", "unknown"),
        value: bytes,
        revision: whole,
        epoch: whole,
      }),
    }),
  ),
  frameOf("view", fc.record({ epoch: whole })),
);

/** Bytes that began as something well-formed: flipped, cut, doubled or with foreign bytes inside. */
export function mangled(original: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const cut = fc.tuple(original, fc.nat()).map(([bytes, at]) => bytes.subarray(0, at % (bytes.length + 1)));
  const flipped = fc
    .tuple(original, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }))
    .map(([bytes, changes]) => {
      const copy = Uint8Array.from(bytes);
      for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
      return copy;
    });
  const stuffed = fc
    .tuple(original, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 }))
    .map(([bytes, at, more]) => {
      const split = at % (bytes.length + 1);
      return Uint8Array.from([...bytes.subarray(0, split), ...more, ...bytes.subarray(split)]);
    });
  return fc.oneof(cut, flipped, stuffed, fc.uint8Array({ maxLength: 200 }));
}
