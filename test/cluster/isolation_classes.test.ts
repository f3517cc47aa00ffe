// Sessions with a thread or a process of their own in a real mesh: any node carries to them, the registry tells of them, and what
// becomes of their worker becomes of them.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectNats, type NatsLink } from "#mesh";
import { record } from "#proto";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";
import { openSocket } from "./socket-client.ts";

const APP = "test/node/enclosure/enclosure-app.ts";
/** What a busy machine needs for what takes some milliseconds. */
const SOON_MS = 10_000;
/** A process that lost its worker is to be gone at once. */
const ORPHAN_MS = 3_000;
/** The chance that none of so many names is on one of two workers is one in a thousand. */
const NAMES_MAX = 10;
const KINDS = ["shared", "thread", "process"];

interface Answer {
  readonly count: number;
  readonly pid: number;
  readonly ppid: number;
}

async function ask(gateway: string, session: string): Promise<Answer> {
  const response = await fetch(`${gateway}/sessions/${session}`);
  expect([session, response.status]).toEqual([session, 200]);
  return (await response.json()) as Answer;
}

async function problemOf(gateway: string, path: string): Promise<{ readonly status: number; readonly code: unknown }> {
  const response = await fetch(`${gateway}/sessions/${path}`);
  const { code } = (await response.json()) as { code?: unknown };
  return { status: response.status, code };
}

/** A session of which nobody ends the turns, on the worker that `other` is on. */
async function besides(gateway: string, other: Answer): Promise<string> {
  for (let at = 0; at < NAMES_MAX; at++) {
    const session = `process-for-long/busy${at}`;
    if ((await ask(gateway, session)).ppid === other.ppid) return session;
  }
  throw new Error("no such name");
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe("in a mesh of two nodes", () => {
  let mesh: TestMesh;
  let nats: NatsLink | undefined;
  beforeAll(async () => {
    mesh = await startMesh({ app: APP, nodes: 2, workers: 1, env: { MESH_THREADS_MAX: "4", MESH_PROCESSES_MAX: "4" } });
    nats = await connectNats(mesh.nats, { name: "a client of the registry" });
  });
  afterAll(async () => {
    await nats?.close();
    await mesh.stop();
  });
  const gateways = (): string[] => mesh.nodes.map(({ gateway }) => gateway);

  test.each(KINDS)("a session of isolation %s is one session, whichever node is asked", async (kind) => {
    const counts: number[] = [];
    for (const gateway of [...gateways(), ...gateways()]) counts.push((await ask(gateway, `${kind}/one`)).count);
    expect(counts).toEqual([1, 2, 3, 4]);
  });

  test.each(KINDS)("sockets of a session of isolation %s meet in it from both nodes", async (kind) => {
    const sockets = await Promise.all(gateways().map((gateway) => openSocket(gateway, `${kind}/room`)));
    const [one, two] = sockets;
    await Promise.all(sockets.map((socket) => socket.has(1)));
    one?.socket.send("all hear this");
    await two?.has(2);
    expect(two?.received[1]).toBe("all hear this");
    one?.socket.send("close");
    expect(await one?.closed).toEqual({ code: 4000, reason: "enough" });
  });

  test.each(KINDS)("the registry tells of a session of isolation %s", async (kind) => {
    const { socket } = await openSocket(gateways()[0] ?? "", `${kind}/told`);
    const told = await eventually(async () => {
      const answer = await nats?.request(`mesh.${mesh.name}.registry.get`, { kind, name: "told" }, SOON_MS);
      const session = record(record(answer, "answer")["session"], "session");
      return session["sockets"] === 1 && session;
    }, SOON_MS);
    expect(told).toMatchObject({ kind, name: "told", state: "running" });
    socket.terminate();
  });

  test.each(["thread", "process"])("a session of isolation %s that spins is ended alone", async (kind) => {
    const [gateway = ""] = gateways();
    const { closed } = await openSocket(gateway, `${kind}/spins`);
    const spun = problemOf(gateway, `${kind}/spins/spin`);
    await eventually(async () => (await ask(gateway, "shared/neighbour")).count > 20, SOON_MS);
    expect(await spun).toEqual({ status: 500, code: "session_killed" });
    expect(await closed).toEqual({ code: 1011, reason: "session killed" });
    expect((await ask(gateway, `${kind}/spins`)).count).toBe(1);
  });
});

describe("the processes of a worker", () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    // Two, because the port of the gateway is lost with the last worker that listens on it.
    mesh = await startMesh({ app: APP, nodes: 1, workers: 2 });
  });
  afterAll(() => mesh.stop());

  test("die with it, also when it has no time to say so and they are in a turn that never ends", async () => {
    const gateway = mesh.nodes[0]?.gateway ?? "";
    const idle = await ask(gateway, "process/idle");
    const session = await besides(gateway, idle);
    const busy = await ask(gateway, session);
    const spun = fetch(`${gateway}/sessions/${session}/spin`).catch(() => undefined);
    // From when on it answers to nobody.
    await eventually(
      () =>
        fetch(`${gateway}/sessions/${session}`, { signal: AbortSignal.timeout(300) }).then(
          () => false,
          () => true,
        ),
      SOON_MS,
    );
    process.kill(idle.ppid, "SIGKILL");
    await spun;
    await eventually(() => !isRunning(idle.pid) && !isRunning(busy.pid), ORPHAN_MS);
    await eventually(async () => (await ask(gateway, "process/idle")).count === 1, SOON_MS);
  });

  test("die with their node", async () => {
    const gateway = mesh.nodes[0]?.gateway ?? "";
    const { pid } = await ask(gateway, "process/last");
    mesh.kill("n1", "SIGKILL", "primary");
    await eventually(() => !isRunning(pid), ORPHAN_MS);
  });
});
