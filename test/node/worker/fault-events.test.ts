import { expect, test } from "vitest";
import { MeshError, parseSessionId } from "#proto";
import type { FaultEvent } from "../../../node/ipc.ts";
import { EventStream } from "../../../node/primary/event-stream.ts";
import { SessionKilled } from "../../../node/session/session-killed.ts";
import { FaultEvents } from "../../../node/worker/fault-events.ts";

const ID = parseSessionId("chat", "lobby");

function events() {
  const told: FaultEvent[] = [];
  let nowMs = 0;
  const faults = new FaultEvents(
    3,
    (event) => told.push(event),
    () => nowMs,
  );
  return { told, faults, wait: (ms: number) => (nowMs += ms) };
}

test("a crash is told by the name of its error, a kill by its reason and duration", () => {
  const { told, faults } = events();
  faults.note(ID, "crashed", new RangeError("too deep"));
  faults.note(ID, "killed", new SessionKilled("turn budget", "ended", { durationMs: 12 }));
  faults.note(ID, "killed", new MeshError("session_killed", "otherwise"));
  expect(told).toMatchObject([
    { kind: "crashed", session: "chat/lobby", worker: 3, reason: "RangeError", message: "too deep" },
    { kind: "killed", reason: "turn budget", durationMs: 12, message: "ended" },
    { kind: "killed", reason: "MeshError", message: "otherwise" },
  ]);
  expect(new Date(told[0]?.at ?? "").getTime()).toBeGreaterThan(0);
});

test("an orderly end is not told", () => {
  const { told, faults } = events();
  for (const reason of ["idle", "destroyed", "stopped", "drained", "moved", "evicted"] as const) {
    faults.note(ID, reason, undefined);
  }
  expect(told).toEqual([]);
});

test.for([
  null,
  "text",
  {
    get name(): never {
      throw new Error("no name for you");
    },
  },
  new Proxy(new Error("x"), {
    get: () => {
      throw new Error("nothing for you");
    },
  }),
])("whatever was thrown can be told", (thrown) => {
  const { told, faults } = events();
  faults.note(ID, "crashed", thrown);
  expect(told).toHaveLength(1);
});

test("a flood is cut to 20 a second, and the next one says how many are missing", () => {
  const { told, faults, wait } = events();
  for (let at = 0; at < 150; at++) faults.note(ID, "crashed", new Error("again"));
  expect(told).toHaveLength(100);
  wait(1_000);
  for (let at = 0; at < 30; at++) faults.note(ID, "crashed", new Error("again"));
  expect(told).toHaveLength(120);
  expect(told[100]?.dropped).toBe(50);
  expect(told.filter(({ dropped }) => dropped !== undefined)).toHaveLength(1);
});

test("what could not be published while NATS was away is counted in the next event", () => {
  const published: { subject: string; body: unknown }[] = [];
  let connected = false;
  const nats = {
    publish: (subject: string, body: unknown) => {
      if (connected) published.push({ subject, body });
      return connected;
    },
  };
  const stream = new EventStream(nats, { mesh: "m", node: "host.example" });
  const event: FaultEvent = { kind: "killed", session: "a/b", worker: 0, reason: "r", message: "m", at: "now" };
  stream.tell({ ...event, dropped: 2 });
  stream.tell(event);
  connected = true;
  stream.tell(event);
  stream.tell(event);
  const told = { node: "host.example", session: "a/b", worker: 0, reason: "r", message: "m", at: "now" };
  expect(published).toEqual([
    { subject: "mesh.m.events.host_example.killed", body: { ...told, dropped: 4 } },
    { subject: "mesh.m.events.host_example.killed", body: told },
  ]);
});
