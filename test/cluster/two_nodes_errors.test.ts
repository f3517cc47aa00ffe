// Two real nodes: what an error or a refusal costs that belongs to one event, seen through both gateways, so that one is a link away.

import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { connectNats } from "#mesh";
import { record } from "#proto";
import { whereIs } from "./counter-client.ts";
import { openSocket } from "./socket-client.ts";
import { sessionWhere, sharedMesh } from "./test-mesh.ts";

const mesh = sharedMesh({ nodes: 2, workers: 1 });

async function erring() {
  const gateways = mesh().nodes.map((node) => node.gateway);
  const { session, where } = await sessionWhere(gateways[0]!, "erring", "room-", () => true);
  return { gateways, session, lives: async () => (await whereIs(gateways[0]!, session)).instance === where.instance };
}

/** The answer to a handshake that is refused. */
async function refusal(gateway: string, session: string): Promise<{ status: number; why: unknown; text: string }> {
  const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/${session}`);
  socket.on("error", () => {});
  onTestFinished(() => socket.terminate());
  const [, response] = (await once(socket, "unexpected-response")) as [
    unknown,
    { statusCode: number; headers: Record<string, unknown> } & AsyncIterable<Buffer>,
  ];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode, why: response.headers["x-why"], text: Buffer.concat(chunks).toString() };
}

test("an error of a request is answered with 500, a thrown Response with itself, and the session lives", async () => {
  const { gateways, session, lives } = await erring();
  for (const gateway of gateways) {
    const failed = await fetch(`${gateway}/sessions/${session}/throw`);
    const text = await failed.text();
    expect([failed.status, failed.headers.get("content-type")]).toEqual([500, "application/problem+json"]);
    expect(JSON.parse(text)).toMatchObject({ code: "handler_failed", session, retryable: false });
    expect(text).not.toContain("told to");
    const thrown = await fetch(`${gateway}/sessions/${session}/response`);
    expect([thrown.status, await thrown.text()]).toEqual([402, "pay first"]);
    expect(await lives()).toBe(true);
  }
});

test("a message that the room cannot read closes its sender with 1011 and nobody else", async () => {
  const { gateways, session, lives } = await erring();
  const other = await openSocket(gateways[0]!, session);
  for (const gateway of gateways) {
    const bad = await openSocket(gateway, session);
    bad.socket.send("{not json");
    expect(await bad.closed).toEqual({
      code: 1011,
      reason: "onMessage() of the session failed; the log of its node says why",
    });
  }
  other.socket.send("{}");
  await other.has(2);
  expect(other.received[1]).toBe("{}");
  expect(await lives()).toBe(true);
});

test.for([
  ["forbidden", 403, '"code":"forbidden"'],
  ["unauthorized", 401, '"code":"unauthorized"'],
  ["error", 500, '"code":"handler_failed"'],
  ["response", 402, "pay first"],
] as const)("a handshake refused by %s is answered with %i, and the room lives", async ([refuse, status, part]) => {
  const { gateways, session, lives } = await erring();
  const member = await openSocket(gateways[0]!, session);
  for (const gateway of gateways) {
    const answer = await refusal(gateway, `${session}?refuse=${refuse}`);
    expect(answer).toMatchObject({ status, text: expect.stringContaining(part) });
    if (refuse === "response") expect(answer.why).toBe("money");
  }
  expect(member.isOpen()).toBe(true);
  expect(await lives()).toBe(true);
});

test("sockets carry views and blobs, close with the codes of servers, and have their client's id", async () => {
  const { gateways, session, lives } = await erring();
  for (const gateway of gateways) {
    for (const code of [1001, 1003, 1008, 1009, 1011, 1012, 1013, 1014, 4000]) {
      const client = await openSocket(gateway, `${session}?_pk=ada`);
      client.socket.send("blob");
      client.socket.send("numbers");
      client.socket.send(`close ${code}`);
      expect(await client.closed).toEqual({ code, reason: "bye" });
      expect(client.received).toEqual(["ada", Buffer.from("a blob"), Buffer.from([1, 0, 2, 0])]);
    }
    const turnedAway = await openSocket(gateway, `${session}?_pk=bob&refuse=close`);
    expect(await turnedAway.closed).toEqual({ code: 1008, reason: "not today" });
    expect(turnedAway.received).toEqual(["bob"]);
    expect((await refusal(gateway, `${session}?_pk=a%20b`)).status).toBe(400);
    const illegal = await openSocket(gateway, session);
    illegal.socket.send("close 1006");
    expect((await illegal.closed).code).toBe(1011);
  }
  expect(await lives()).toBe(true);
});

test("what a class never answers leaves no session", async () => {
  for (const { gateway } of mesh().nodes) {
    for (let at = 0; at < 5; at++) {
      expect((await fetch(`${gateway}/sessions/deaf/${at}`)).status).toBe(404);
      expect((await fetch(`${gateway}/parties/deaf/${at}`)).status).toBe(404);
      expect((await refusal(gateway, `deaf/${at}`)).status).toBe(426);
    }
  }
  const link = await connectNats(mesh().nats, { name: "a test" });
  onTestFinished(() => link.close());
  const page = record(await link.request(`mesh.${mesh().name}.registry.list`, { kind: "deaf" }, 5_000), "page");
  expect(page["sessions"]).toEqual([]);
});
