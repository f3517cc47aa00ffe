import { expect, test } from "vitest";
import { SessionCall, type SessionEnd } from "#mesh";
import { encodeClaims, type Claims } from "#proto";
import { SessionServer, type Caller, type SessionSocket } from "sessionmesh";
import { FakeClient, idOf, settle, startHost } from "./harness.ts";

class Desk extends SessionServer {
  seen: unknown[] = [];
  atStart = this.ctx.claims;
  override async fetch(_: Request, caller: Caller): Promise<Response> {
    const before = userOf(this.ctx.claims);
    await settle();
    return Response.json([caller.ip, userOf(caller.claims), before, userOf(this.ctx.claims), userOf(this.atStart)]);
  }
  override onConnect(socket: SessionSocket): void {
    socket.send(`connect ${userOf(this.ctx.claims)} ${userOf(socket.claims)} ${socket.ip} ${socket.protocol}`);
  }
  override async onMessage(socket: SessionSocket): Promise<void> {
    await settle();
    socket.send(`message ${userOf(this.ctx.claims)} ${this.ctx.claims === socket.claims}`);
  }
  override onClose(): void {
    this.seen.push(userOf(this.ctx.claims));
    this.broadcast(`closed ${userOf(this.ctx.claims)}`);
  }
}

function userOf(claims: Claims | undefined): string {
  return String(claims?.["user"] ?? "nobody");
}

function callBy(user: string | undefined, ip = "198.18.0.9"): SessionCall {
  const claims = user === undefined ? undefined : encodeClaims({ user });
  return new SessionCall({
    id: idOf("desk/a"),
    method: "GET",
    url: "http://mesh/",
    headers: [],
    timeoutMs: 1_000,
    ip,
    claims,
    protocol: "chat.v2",
  });
}

test("requests that are under way at once have each its own claims, before and after an await", async () => {
  const { send } = startHost({ desk: Desk });
  const replies = await Promise.all([send(callBy("ada")), send(callBy(undefined, "")), send(callBy("bob"))]);
  expect(replies.map(({ body }) => JSON.parse(String(body)) as unknown)).toEqual([
    ["198.18.0.9", "ada", "ada", "ada", "nobody"],
    [null, "nobody", "nobody", "nobody", "nobody"],
    ["198.18.0.9", "bob", "bob", "bob", "nobody"],
  ]);
});

test("a socket keeps the claims of its handshake, and they are in force in all of its events", async () => {
  const { host, start } = startHost({ desk: Desk });
  start("desk/a");
  const join = async (user: string | undefined): Promise<{ client: FakeClient; end: SessionEnd }> => {
    const client = new FakeClient();
    const reply = await host.connect(callBy(user), client);
    if (reply.status === "refused") throw reply.error;
    if (reply.status === "answered") throw new Error(`answered with ${reply.reply.status}`);
    await settle();
    return { client, end: reply.end };
  };
  const [ada, stranger] = [await join("ada"), await join(undefined)];
  await Promise.all([ada.end.message("x"), stranger.end.message("x")]);
  expect(ada.client.sent).toEqual(["connect ada ada 198.18.0.9 chat.v2", "message ada true"]);
  expect(stranger.client.sent).toEqual(["connect nobody nobody 198.18.0.9 chat.v2", "message nobody true"]);
  ada.end.closed(1000, "", true);
  await settle();
  expect(stranger.client.sent.at(-1)).toBe("closed ada");
});
