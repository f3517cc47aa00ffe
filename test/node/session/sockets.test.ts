import { expect, test } from "vitest";
import { SessionServer, type SessionSocket } from "sessionmesh";
import { FakeClient, callTo, codeOf, settle, startHost } from "./harness.ts";

let seen: string[] = [];

class Room extends SessionServer {
  static readonly options = { idleMs: 1_000, maxSockets: 3, maxMessageBytes: 10, maxBufferedBytes: 100 };
  override onConnect(socket: SessionSocket, request: Request): void | Promise<void> {
    seen = [];
    socket.attachment = new URL(request.url).pathname;
    socket.send(`hello ${this.sockets().length}`);
  }
  override onMessage(socket: SessionSocket, message: string | Uint8Array): void {
    if (message === "vip") socket.tags = ["vip"];
    else if (message === "close") socket.close(4000, "enough");
    else if (message === "badclose") socket.close(1006);
    else if (message === "to vip") this.broadcast("for vips", { tag: "vip" });
    else if (typeof message === "string") this.broadcast(message, { except: socket });
    else socket.send(message);
  }
  override onClose(_socket: SessionSocket, code: number, reason: string, wasClean: boolean): void {
    seen.push(`close ${code} ${reason} ${wasClean}`);
  }
  override onError(_socket: SessionSocket, error: Error): void {
    seen.push(`error ${error.message.replace(/^socket \S+ /, "")}`);
  }
}

test("what onConnect sends follows the handshake, never precedes it", async () => {
  const { host, start } = startHost({ room: Room });
  start("room/a");
  const client = new FakeClient();
  const reply = host.connect(callTo("room/a"), client);
  expect(reply).toMatchObject({ status: "accepted" });
  expect(client.sent).toEqual([]);
  await settle();
  expect(client.sent).toEqual(["hello 1"]);
});

test("messages keep their type and their order", async () => {
  const { connect } = startHost({ room: Room });
  const { client, end } = await connect("room/a");
  const other = await connect("room/a");
  await end.message("one");
  await end.message("two");
  await end.message(Buffer.from([1, 2]));
  expect(other.client.sent).toEqual(["hello 2", "one", "two"]);
  expect(client.sent).toEqual(["hello 1", Buffer.from([1, 2])]);
});

test("broadcast reaches only the sockets with the tag", async () => {
  const { connect } = startHost({ room: Room });
  const vip = await connect("room/a");
  const other = await connect("room/a");
  await vip.end.message("vip");
  await other.end.message("to vip");
  expect(vip.client.sent.at(-1)).toBe("for vips");
  expect(other.client.sent).toEqual(["hello 2"]);
});

test("socket ids are unguessable, stay and differ", async () => {
  const ids: string[] = [];
  class Ids extends SessionServer {
    override onConnect(socket: SessionSocket): void {
      ids.push(socket.id);
      expect(socket.id).toBe(ids.at(-1));
    }
  }
  const { connect } = startHost({ ids: Ids });
  await connect("ids/a");
  await connect("ids/a");
  expect(ids[0]).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  expect(new Set(ids).size).toBe(2);
});

test("a client that leaves is told to onClose once, and its session may idle", async () => {
  const { connect, clock, ended } = startHost({ room: Room });
  const { end } = await connect("room/a");
  end.closed(1001, "bye", true);
  await settle();
  expect(seen).toEqual(["close 1001 bye true"]);
  await clock.advance(2_000);
  expect(ended).toMatchObject([{ reason: "idle" }]);
});

test("a socket closed by the session hears nothing more, and onClose is called once", async () => {
  const { connect } = startHost({ room: Room });
  const { client, end } = await connect("room/a");
  await end.message("close");
  await settle();
  expect(client.closed).toEqual({ code: 4000, reason: "enough" });
  await end.message("more");
  end.closed(4000, "enough", true);
  await settle();
  expect(seen).toEqual(["close 4000 enough true"]);
});

test("a socket closed in onConnect is accepted, served what was sent, then closed", async () => {
  class Bouncer extends SessionServer {
    override onConnect(socket: SessionSocket): void {
      socket.send("no room");
      socket.close(4001, "full");
    }
  }
  const { connect } = startHost({ bouncer: Bouncer });
  const { client } = await connect("bouncer/a");
  expect(client.sent).toEqual(["no room"]);
  expect(client.closed).toEqual({ code: 4001, reason: "full" });
});

test("a close code that the protocol reserves is an error of that event", async () => {
  const { connect, ended } = startHost({ room: Room });
  const { client, end } = await connect("room/a");
  await end.message("badclose");
  await settle();
  expect(client.closed?.code).toBe(1011);
  expect(seen[0]).toMatch(/^error a socket can be closed with .*, not 1006$/);
  expect(ended).toEqual([]);
});

test("a message over the limit closes its socket with 1009 and tells the session", async () => {
  const { connect, get } = startHost({ room: Room });
  const { client, end } = await connect("room/a");
  await end.message("1234567890");
  expect(client.closed).toBeUndefined();
  // 4 UTF-16 units, 12 bytes.
  await end.message("€€€€");
  await settle();
  expect(client.closed?.code).toBe(1009);
  expect(seen).toEqual(["error message too big", "close 1009 message too big false"]);
  expect(await codeOf(get("room/a"))).toBe("not_found");
});

test("a client that does not read is closed with 1013, the others go on", async () => {
  const { connect } = startHost({ room: Room });
  const slow = await connect("room/a");
  const other = await connect("room/a");
  slow.client.stuck = true;
  for (let at = 0; at < 11; at++) await other.end.message("0123456789");
  await settle();
  expect(slow.client.closed).toEqual({ code: 1013, reason: "client reads too slowly" });
  expect(seen).toEqual(["error client reads too slowly", "close 1013 client reads too slowly false"]);
  expect(other.client.closed).toBeUndefined();
});

test("drain settles when the client has read everything, or is gone", async () => {
  const drains: Promise<void>[] = [];
  class Draining extends SessionServer {
    override onMessage(socket: SessionSocket): void {
      socket.send("x");
      drains.push(socket.drain());
    }
  }
  const { connect } = startHost({ draining: Draining });
  const { client, end } = await connect("draining/a");
  client.stuck = true;
  let drained = 0;
  await end.message("go");
  void drains[0]?.then(() => drained++);
  await settle();
  expect(drained).toBe(0);
  client.buffered = 0;
  end.drained();
  await settle();
  expect(drained).toBe(1);
  await end.message("go");
  end.closed(1006, "", false);
  await drains[1];
});

test("sockets beyond maxSockets are refused", async () => {
  const { connect } = startHost({ room: Room });
  for (let at = 0; at < 3; at++) await connect("room/a");
  expect(await codeOf(connect("room/a"))).toBe("overloaded");
});

test("a class without socket hooks refuses sockets and says what to add", async () => {
  class Deaf extends SessionServer {}
  const { connect, ended } = startHost({ deaf: Deaf });
  await expect(connect("deaf/a")).rejects.toThrow("add a method onConnect() or onMessage() to Deaf");
  expect(await codeOf(connect("deaf/a"))).toBe("bad_upgrade");
  expect(ended).toEqual([]);
});

test("the handshake waits for onConnect; a client that leaves meanwhile is told to onClose", async () => {
  const gate = Promise.withResolvers<void>();
  class Slow extends Room {
    override async onConnect(): Promise<void> {
      seen = [];
      await gate.promise;
    }
  }
  const { host, start, ended } = startHost({ slow: Slow });
  start("slow/a");
  const call = callTo("slow/a");
  const reply = host.connect(call, new FakeClient());
  const { MeshError } = await import("sessionmesh");
  call.cancel(new MeshError("cancelled", "gone"));
  expect(await reply).toMatchObject({ status: "refused", error: { code: "cancelled" } });
  expect(seen).toEqual(["close 1006  false"]);
  gate.resolve();
  await settle();
  expect(ended).toEqual([]);
});

test("clients that do not read are closed when they take too much of their session together", async () => {
  const MIB = 1024 * 1024;
  class Crowd extends SessionServer {
    static readonly options = { maxBufferedBytes: 4 * MIB };
    override onMessage(): void {
      this.broadcast("x".repeat(3 * MIB));
    }
  }
  const { connect } = startHost({ crowd: Crowd });
  const first = await connect("crowd/a");
  const clients = [first.client];
  for (let at = 0; at < 49; at++) clients.push((await connect("crowd/a")).client);
  const reader = (await connect("crowd/a")).client;
  for (const client of clients) client.stuck = true;
  await first.end.message("all");
  await settle();
  // 42 times 3 MiB is what fits.
  const closed = clients.filter((client) => client.closed !== undefined);
  expect(closed).toHaveLength(50 - 42);
  expect(closed[0]?.closed).toEqual({ code: 1013, reason: "clients of the session read too slowly" });
  expect(reader.closed).toBeUndefined();
});

test("what clients have read by now is not held against the others", async () => {
  const MIB = 1024 * 1024;
  class Crowd extends SessionServer {
    static readonly options = { maxBufferedBytes: 4 * MIB };
    override onMessage(): void {
      this.broadcast("x".repeat(3 * MIB));
    }
  }
  const { connect } = startHost({ crowd: Crowd });
  const { client, end } = await connect("crowd/a");
  const clients = [client];
  for (let at = 0; at < 39; at++) clients.push((await connect("crowd/a")).client);
  for (let round = 0; round < 5; round++) {
    for (const one of clients) one.stuck = true;
    await end.message("all");
    // The last byte is never read, so nothing says that they are drained.
    for (const one of clients) one.buffered = 1;
  }
  expect(clients.filter((one) => one.closed !== undefined)).toEqual([]);
});
