// Three real nodes of two workers: what an HTTP client sees through any of their gateways.

import { randomUUID } from "node:crypto";
import http from "node:http";
import net from "node:net";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect, test } from "vitest";
import { integer, parseJson } from "#proto";
import { count, readWhere, whereIs } from "./counter-client.ts";
import { eventually } from "./eventually.ts";
import { growthDuring } from "./memory.ts";
import { gatewayOf, ownClient, sessionWhere, sharedMesh } from "./test-mesh.ts";

const mesh = sharedMesh({ nodes: 3, workers: 2 });

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** What a worker may grow during a transfer of any size: buffers of a few streams, and what V8 has not collected yet. */
const GROWTH_MAX = 150 * MIB;
const TRANSFER_MS = 60_000;
const SPREAD_MS = 5_000;

test("a counter counts on whichever gateway is asked", async () => {
  const gateways = mesh().nodes.map((node) => node.gateway);
  const seen = [];
  for (let round = 0; round < 3; round++)
    for (const gateway of gateways) seen.push(await count(gateway, "counter/alice"));
  expect(seen.map((one) => one.count)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(new Set(seen.map((one) => one.instance)).size).toBe(1);
});

test("1,000 first requests for one name at once, through every gateway and worker, meet one counter", async () => {
  const client = ownClient();
  const gateways = mesh().nodes.map((node) => node.gateway);
  const outcomes = await Promise.all(
    Array.from({ length: 1_000 }, (_, at) => client.count(gateways[at % gateways.length]!, "/sessions/counter/crowd")),
  );
  const answers = outcomes.flatMap((outcome) => (outcome.status === "counted" ? [outcome.answer] : []));
  expect(outcomes.filter((outcome) => outcome.status !== "counted")).toEqual([]);
  expect(new Set(answers.map((answer) => answer.instance)).size).toBe(1);
  expect(answers.map((answer) => answer.count).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 1_000 }, (_, at) => at + 1),
  );
});

test("20 new names of 50 first requests each are 20 counters", async () => {
  const client = ownClient();
  const gateways = mesh().nodes.map((node) => node.gateway);
  const outcomes = await Promise.all(
    Array.from({ length: 1_000 }, (_, at) =>
      client.count(gateways[at % gateways.length]!, `/sessions/spread/crowd${at % 20}`),
    ),
  );
  const byName = Map.groupBy(
    outcomes.flatMap((outcome) => (outcome.status === "counted" ? [outcome.answer] : [])),
    (answer) => answer.name,
  );
  expect(byName.size).toBe(20);
  for (const answers of byName.values()) {
    expect(answers.map((answer) => answer.count).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, at) => at + 1),
    );
    expect(new Set(answers.map((answer) => answer.instance)).size).toBe(1);
  }
});

test("sessions of many names are spread over every worker of every node", async () => {
  const pids = new Set<number>();
  // A worker that is busy with the crowds of the tests before takes none until it has calmed down.
  await eventually(async () => {
    const names = Array.from({ length: 30 }, () => `counter/${randomUUID()}`);
    for (const where of await Promise.all(names.map((name) => whereIs(gatewayOf(mesh()), name)))) pids.add(where.pid);
    return pids.size === 6;
  }, SPREAD_MS);
});

test("/parties/:kind/:name is the same session as /sessions/:kind/:name", async () => {
  const [first, second] = mesh().nodes;
  expect((await count(first!.gateway, "counter/party")).count).toBe(1);
  const response = await fetch(`${second!.gateway}/parties/counter/party/with/a/path?and=query`);
  expect(await response.json()).toMatchObject({ count: 2, name: "party" });
});

test("POST /sessions/:kind makes a new session whose Location works through every gateway", async () => {
  for (const creator of mesh().nodes) {
    const created = await fetch(`${creator.gateway}/sessions/counter`, { method: "POST" });
    expect(created.status).toBe(201);
    await created.body?.cancel();
    const location = created.headers.get("location");
    expect(location).toMatch(/^\/sessions\/counter\/[\w-]{22}$/);
    let expected = 0;
    for (const node of mesh().nodes) {
      const answer = await fetch(new URL(location!, node.gateway));
      expect(await answer.json()).toMatchObject({ count: ++expected });
    }
  }
});

test("names of every script are one session through every gateway", async () => {
  const name = encodeURIComponent("Grüße/ 会议 #1?");
  let expected = 0;
  for (const node of mesh().nodes) {
    const answer = await count(node.gateway, `counter/${name}`);
    expect(answer).toMatchObject({ count: ++expected, name: "Grüße/ 会议 #1?" });
  }
});

test("1 GiB uploaded across nodes passes without growing any worker", { timeout: TRANSFER_MS }, async () => {
  const { session, gateway, pids } = await remoteStream("upload");
  let answer: unknown;
  const growth = await growthDuring(
    pids,
    async () => (answer = await upload(`${gateway}/sessions/${session}/up`, GIB)),
  );
  expect(answer).toBe(GIB);
  console.log(`upload of 1 GiB across nodes: a worker grew by ${(growth / MIB).toFixed(0)} MiB at most`);
  expect(growth).toBeLessThan(GROWTH_MAX);
});

test("1 GiB downloaded across nodes passes without growing any worker", { timeout: TRANSFER_MS }, async () => {
  const { session, gateway, pids } = await remoteStream("download");
  let bytes = 0;
  const growth = await growthDuring(
    pids,
    async () => (bytes = await download(`${gateway}/sessions/${session}/down?bytes=${GIB}`)),
  );
  expect(bytes).toBe(GIB);
  console.log(`download of 1 GiB across nodes: a worker grew by ${(growth / MIB).toFixed(0)} MiB at most`);
  expect(growth).toBeLessThan(GROWTH_MAX);
});

test(
  "a client that stops reading a download stops the session's stream, not its worker",
  { timeout: TRANSFER_MS },
  async () => {
    const { session, gateway, pids } = await remoteStream("stalled");
    const growth = await growthDuring(pids, async () => {
      const request = http.get(`${gateway}/sessions/${session}/down?bytes=${GIB}`, { agent: false });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      response.pause();
      // The stream is stuck now; the same worker answers others all the while.
      for (let at = 0; at < 50; at++) await whereIs(gateway, session);
      request.destroy();
    });
    expect(growth).toBeLessThan(GROWTH_MAX);
    await whereIs(gateway, session);
  },
);

test.for([
  ["an empty name", "GET", "/sessions/counter/", 405, "method_not_allowed"],
  ["a kind alone", "GET", "/sessions/counter", 405, "method_not_allowed"],
  ["an unknown kind", "GET", "/sessions/nothing/x", 404, "unknown_kind"],
  ["a path that is nobody's", "GET", "/elsewhere", 404, "not_found"],
  ["a control character in a name", "GET", "/sessions/counter/a%00b", 400, "bad_name"],
  ["a percent escape that is not UTF-8", "GET", "/sessions/counter/%ff", 400, "bad_name"],
  ["a name of 257 bytes", "GET", `/sessions/counter/${"x".repeat(257)}`, 400, "bad_name"],
  ["a method that the front page does not take", "DELETE", "/", 405, "method_not_allowed"],
] as const)("%s is refused with its code by every gateway", async ([, method, path, status, code]) => {
  for (const node of mesh().nodes) {
    const response = await fetch(node.gateway + path, { method });
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toMatchObject({
      status,
      code,
      type: `urn:sessionmesh:error:${code}`,
      retryable: false,
    });
    expect(response.status).toBe(status);
    if (status === 405) expect(response.headers.get("allow")).toBeTruthy();
  }
});

test.for(["declared", "chunked"])(
  "a body above the limit of its class is refused with 413, %s, and the session lives on",
  async (how) => {
    const { session, where } = await sessionWhere(gatewayOf(mesh()), "small", `large-${how}`, () => true);
    for (const node of mesh().nodes) {
      const text = "x".repeat(1_001);
      const body = how === "declared" ? text : Readable.toWeb(Readable.from([text.slice(0, 600), text.slice(600)]));
      const init = { method: "POST", body, duplex: "half" } as RequestInit;
      const response = await fetch(`${node.gateway}/sessions/${session}`, init);
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: "body_too_large", retryable: false });
      expect((await whereIs(node.gateway, session)).instance).toBe(where.instance);
    }
  },
);

test("a WebSocket handshake without a version is refused with 426 and the version that is spoken", async () => {
  const { hostname, port } = new URL(gatewayOf(mesh()));
  const socket = net.connect(Number(port), hostname);
  socket.write("GET /sessions/echo/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const [head] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  expect(head.toString()).toMatch(/^HTTP\/1.1 426 /);
  expect(head.toString()).toMatch(/sec-websocket-version: 13/i);
  expect(head.toString()).toMatch(/application\/problem\+json/i);
});

test("a session that takes no sockets refuses the upgrade and lives on", async () => {
  const gateway = gatewayOf(mesh());
  const before = await count(gateway, "counter/no-sockets");
  const { hostname, port } = new URL(gateway);
  const socket = net.connect(Number(port), hostname);
  const key = Buffer.alloc(16, 1).toString("base64");
  socket.write(
    `GET /sessions/counter/no-sockets HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  expect(head.toString().split("\r\n")[0]).toMatch(/^HTTP\/1.1 4\d\d /);
  expect(head.toString()).toMatch(/application\/problem\+json/i);
  expect(await count(gateway, "counter/no-sockets")).toMatchObject({
    count: before.count + 1,
    instance: before.instance,
  });
});

/** A streaming session and the gateway of a node that does not host it: every byte takes a hop. */
async function remoteStream(stem: string) {
  const [first, second] = mesh().nodes;
  const { session } = await sessionWhere(first!.gateway, "stream", stem, (where) => where.node === second!.id);
  const pids = mesh().nodes.flatMap((node) => node.workers.map((worker) => worker.pid));
  return { session, gateway: first!.gateway, pids };
}

async function upload(url: string, bytes: number): Promise<number> {
  const chunk = Buffer.alloc(MIB);
  const request = http.request(url, { method: "POST", agent: false });
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  await pipeline(
    Readable.from(
      (function* () {
        for (let sent = 0; sent < bytes; sent += chunk.length) yield chunk;
      })(),
    ),
    request,
  );
  const [response] = await answered;
  const value = parseJson(Buffer.concat(await response.toArray()), "answer");
  readWhere(value);
  return integer(value["bytes"], "bytes");
}

async function download(url: string): Promise<number> {
  const request = http.get(url, { agent: false });
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  return bytes;
}
