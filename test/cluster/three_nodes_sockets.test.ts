// Three real nodes of two workers: what a WebSocket client sees through any of their gateways.

import { expect, test } from "vitest";
import { integer, list, parseJson, record, text } from "#proto";
import { eventually } from "./eventually.ts";
import { growthDuring } from "./memory.ts";
import { openSocket } from "./socket-client.ts";
import { sessionWhere, sharedMesh } from "./test-mesh.ts";

const mesh = sharedMesh({ nodes: 3, workers: 2 });

const MIB = 1024 * 1024;
/** Below the limit of one message, 1 MiB, and far above any buffer of one frame. */
const LARGE_BYTES = 900 * 1024;
const FLOOD_BYTES = 96 * MIB;
/** A worker may hold windows and what V8 has not collected yet, but not the flood. */
const GROWTH_MAX = 64 * MIB;
const SETTLE_MS = 10_000;

test("text, binary and large messages come back through every gateway from every worker", async () => {
  const nodes = mesh().nodes;
  const large = Buffer.alloc(LARGE_BYTES, "large");
  for (const host of nodes.flatMap((node) => node.workers.map((worker) => worker.pid))) {
    const { session } = await sessionWhere(nodes[0]!.gateway, "echo", `of${host}-`, (where) => where.pid === host);
    await Promise.all(
      nodes.map(async (node) => {
        const client = await openSocket(node.gateway, session);
        client.socket.send("hällo");
        client.socket.send(Buffer.from([0, 255, 128]));
        client.socket.send("");
        client.socket.send(large.toString());
        client.socket.send(large);
        await client.has(5);
        expect(client.received.slice(0, 3)).toEqual(["hällo", Buffer.from([0, 255, 128]), ""]);
        expect(client.received[3] === large.toString()).toBe(true);
        expect(large.equals(client.received[4] as Buffer)).toBe(true);
        client.socket.close();
        await client.closed;
      }),
    );
  }
});

test("10,000 messages of one client come back in the order in which they were sent", async () => {
  const { session, gateway } = await remote("echo", "order");
  const client = await openSocket(gateway, session);
  for (let at = 0; at < 10_000; at++) client.socket.send(at % 2 === 0 ? `${at}` : Buffer.from(`${at}`));
  await client.has(10_000);
  expect(client.received.map(String)).toEqual(Array.from({ length: 10_000 }, (_, at) => `${at}`));
});

test("a session that is busy slows its client down and nobody's memory", async () => {
  const { session, gateway, pids } = await remote("sink", "busy");
  const client = await openSocket(gateway, session);
  const chunk = Buffer.alloc(64 * 1024);
  const growth = await growthDuring(pids, async () => {
    for (let sent = 0; sent < FLOOD_BYTES; sent += chunk.length) client.socket.send(chunk);
    await stands(() => client.socket.bufferedAmount);
    // Kernel buffers on both sides of the connection take some megabytes, each hop a window.
    expect(client.socket.bufferedAmount).toBeGreaterThan(FLOOD_BYTES / 2);
  });
  console.log(
    `a busy session: a worker grew by ${(growth / MIB).toFixed(0)} MiB at most, ${FLOOD_BYTES / MIB} MiB were sent`,
  );
  expect(growth).toBeLessThan(GROWTH_MAX);
  expect(integer((await stateOf(gateway, session))["bytes"], "bytes")).toBeLessThan(2 * MIB);

  await fetch(`${gateway}/sessions/${session}`, { method: "POST" });
  await eventually(async () => integer((await stateOf(gateway, session))["bytes"], "bytes") === FLOOD_BYTES, SETTLE_MS);
  expect(client.isOpen()).toBe(true);
  expect(client.socket.bufferedAmount).toBe(0);
});

test("a client that does not read is closed with 1013, its neighbour and the session live on", async () => {
  const { session, gateway, pids, instance } = await remote("flood", "deaf");
  const client = await openSocket(gateway, session);
  client.socket.pause();
  const growth = await growthDuring(pids, async () => {
    await fetch(`${gateway}/sessions/${session}?bytes=${FLOOD_BYTES}`, { method: "POST" });
  });
  console.log(`a deaf client: a worker grew by ${(growth / MIB).toFixed(0)} MiB at most`);
  expect(growth).toBeLessThan(GROWTH_MAX);
  expect((await endsOf(gateway, session)).map((end) => end.code)).toEqual([1013]);
  client.socket.resume();
  expect((await client.closed).code).toBe(1013);

  const other = await openSocket(gateway, session);
  other.socket.send("still there?");
  await other.has(1);
  expect(other.received).toEqual(["still there?"]);
  expect((await stateOf(gateway, session))["instance"]).toBe(instance);
});

test("a message reaches all clients of a room, whichever gateways they came through", async () => {
  const nodes = mesh().nodes;
  const clients = await Promise.all(
    Array.from({ length: 9 }, (_, at) => openSocket(nodes[at % nodes.length]!.gateway, "room/meeting")),
  );
  for (const [at, client] of clients.entries()) {
    client.socket.send(`text of ${at}`);
    client.socket.send(Buffer.from(`bytes of ${at}`));
  }
  for (const [at, client] of clients.entries()) {
    await client.has(16);
    const others = [...clients.keys()].filter((other) => other !== at);
    expect(client.received.map(String).sort()).toEqual(
      others.flatMap((other) => [`bytes of ${other}`, `text of ${other}`]).sort(),
    );
    for (const other of others) {
      const mine = client.received.map(String).filter((message) => message.endsWith(` of ${other}`));
      expect(mine).toEqual([`text of ${other}`, `bytes of ${other}`]);
    }
  }
});

test("close codes and reasons pass both ways through every gateway", async () => {
  const { session } = await remote("echo", "close");
  for (const [at, node] of mesh().nodes.entries()) {
    const leaver = await openSocket(node.gateway, session);
    leaver.socket.close(4321, `leave ${at}`);
    expect(await leaver.closed).toEqual({ code: 4321, reason: `leave ${at}` });
    const left = await eventually(async () => (await endsOf(node.gateway, session)).at(at * 3), SETTLE_MS);
    expect(left).toEqual({ code: 4321, reason: `leave ${at}`, wasClean: true });

    const thrown = await openSocket(node.gateway, session);
    thrown.socket.send("close:4001:out");
    expect(await thrown.closed).toEqual({ code: 4001, reason: "out" });
    await eventually(async () => (await endsOf(node.gateway, session)).length === at * 3 + 2, SETTLE_MS);

    const vanished = await openSocket(node.gateway, session);
    vanished.socket.terminate();
    const gone = await eventually(async () => (await endsOf(node.gateway, session)).at(at * 3 + 2), SETTLE_MS);
    expect(gone).toMatchObject({ code: 1006, wasClean: false });
  }
});

test("a message above the limit of its class closes its socket with 1009 and nothing else", async () => {
  const { session, gateway, instance } = await remote("echo", "too-big");
  const [big, other] = [await openSocket(gateway, session), await openSocket(gateway, session)];
  big.socket.send(Buffer.alloc(MIB + 1));
  expect((await big.closed).code).toBe(1009);
  other.socket.send("fine");
  await other.has(1);
  expect((await stateOf(gateway, session))["instance"]).toBe(instance);
});

/** A session and the gateway of a node that does not host it. */
async function remote(kind: string, stem: string) {
  const [first, second] = mesh().nodes;
  const { session, where } = await sessionWhere(first!.gateway, kind, stem, (one) => one.node === second!.id);
  const pids = mesh().nodes.flatMap((node) => node.workers.map((worker) => worker.pid));
  return { session, gateway: first!.gateway, pids, instance: where.instance };
}

async function stateOf(gateway: string, session: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${gateway}/sessions/${session}`);
  return parseJson(Buffer.from(await response.arrayBuffer()), session);
}

async function endsOf(gateway: string, session: string) {
  return list((await stateOf(gateway, session))["ends"], "ends").map((entry) => {
    const end = record(entry, "end");
    return {
      code: integer(end["code"], "code"),
      reason: text(end["reason"], "reason"),
      wasClean: end["wasClean"] === true,
    };
  });
}

/** Resolves when the reading has stayed the same for a number of looks. */
async function stands(read: () => number): Promise<void> {
  const same = 20;
  const readings: number[] = [];
  await eventually(() => {
    readings.push(read());
    return readings.length > same && readings.slice(-same).every((one) => one === readings.at(-1));
  }, SETTLE_MS);
}
