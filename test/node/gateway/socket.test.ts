import { describe, expect, it, vi } from "vitest";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import PartySocket from "partysocket";
import { SOCKET_WINDOW_BYTES, type ClientEnd, type ConnectReply, type SessionCall, type SessionEnd } from "#mesh";
import { MeshError } from "#proto";
import { ClientSocket } from "../../../node/gateway/client-socket.ts";
import { Heartbeat, type Beating } from "../../../node/gateway/heartbeat.ts";
import { edgeWith, reply, type Edge } from "./fake-router.ts";

const PATH = "/sessions/chat/lobby";

type Message = string | Uint8Array;

interface Room {
  readonly connect: (call: SessionCall, client: ClientEnd) => ConnectReply;
  readonly clients: ClientEnd[];
  readonly messages: Message[];
  readonly closed: [number, string, boolean][];
  drained: number;
}

/** A session that records what it hears. */
function room(onMessage: (message: Message, client: ClientEnd) => void | Promise<void> = () => undefined): Room {
  const clients: ClientEnd[] = [];
  const messages: Message[] = [];
  const closed: Room["closed"] = [];
  const it: Room = {
    clients,
    messages,
    closed,
    drained: 0,
    connect: (_call, client) => {
      clients.push(client);
      const end: SessionEnd = {
        message: (message) => {
          messages.push(message);
          return onMessage(message, client);
        },
        drained: () => void it.drained++,
        closed: (...how) => void closed.push(how),
      };
      return { status: "accepted", end };
    },
  };
  return it;
}

async function open(edge: Edge, path = PATH): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${path}`);
  await once(socket, "open");
  return socket;
}

async function nextText(socket: WebSocket): Promise<string> {
  const [data] = (await once(socket, "message")) as [Buffer];
  return data.toString();
}

const HANDSHAKE = [
  `GET ${PATH} HTTP/1.1`,
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

async function raw(edge: Edge, lines: string[]): Promise<string> {
  const socket = connect(edge.port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
  socket.on("error", () => undefined);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  await once(socket, "close");
  return answer;
}

const replace = (from: string, to: string): string[] => HANDSHAKE.map((line) => line.replace(from, to));
const without = (start: string): string[] => HANDSHAKE.filter((line) => !line.startsWith(start));

describe("messages", () => {
  it("travel both ways, text as string and binary as bytes", async () => {
    const chat = room((message, client) => client.send(message));
    await using edge = await edgeWith(chat);
    const socket = await open(edge, `${PATH}?token=1`);
    expect(edge.router.calls[0]).toMatchObject({
      method: "GET",
      url: `${edge.url}${PATH}?token=1`,
      id: { key: "chat/lobby" },
    });
    socket.send("hé");
    expect(await nextText(socket)).toBe("hé");
    socket.send(new Uint8Array([1, 2]));
    const [data, isBinary] = (await once(socket, "message")) as [Buffer, boolean];
    expect([[...data], isBinary]).toEqual([[1, 2], true]);
    expect(chat.messages).toEqual(["hé", new Uint8Array([1, 2])]);
    expect(edge.gateway.stats).toMatchObject({ sockets: 1, inFlight: 0 });
    socket.close();
  });

  it("that the session sends before the handshake arrive after it, in order", async () => {
    const chat = room();
    await using edge = await edgeWith({
      connect: (call, client) => {
        client.send("first");
        client.send("second");
        expect(client.buffered).toBeGreaterThan(0);
        return chat.connect(call, client);
      },
    });
    const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${PATH}`);
    const got: string[] = [];
    socket.on("message", (data: Buffer) => got.push(data.toString()));
    await vi.waitFor(() => expect(got).toEqual(["first", "second"]));
    expect(chat.drained).toBe(1);
    socket.close();
  });

  it("that flood a client before the handshake close it with 1013", async () => {
    await using edge = await edgeWith({
      connect: (call, client) => {
        for (let at = 0; at < 10; at++) client.send("x".repeat(60_000));
        return room().connect(call, client);
      },
    });
    const [code] = await once(new WebSocket(`ws://127.0.0.1:${edge.port}${PATH}`), "close");
    expect(code).toBe(1013);
  });

  it("of a client are not read while the session is too busy with those before", async () => {
    const release = Promise.withResolvers<void>();
    const chat = room(() => release.promise);
    await using edge = await edgeWith(chat);
    const socket = await open(edge);
    const count = (4 * SOCKET_WINDOW_BYTES) / 16_384;
    for (let at = 0; at < count; at++) socket.send(Buffer.alloc(16_384));
    const held = SOCKET_WINDOW_BYTES / 16_384;
    await vi.waitFor(() => expect(chat.messages.length).toBeGreaterThanOrEqual(held));
    // What had been read already when the window was full may still come, not more.
    await vi.waitFor(() => expect(chat.messages.length).toBeLessThan(held + 8));
    release.resolve();
    await vi.waitFor(() => expect(chat.messages.length).toBe(count));
    socket.close();
  });

  it("larger than the kind allows close the socket with 1009", async () => {
    const chat = room();
    await using edge = await edgeWith(chat);
    const socket = await open(edge);
    socket.send(Buffer.alloc(65_537));
    expect((await once(socket, "close"))[0]).toBe(1009);
    await vi.waitFor(() => expect(chat.closed).toHaveLength(1));
    expect(chat.messages).toEqual([]);
  });

  it("to a client that does not read count as buffered until it does, and then the session is told", async () => {
    const chat = room();
    await using edge = await edgeWith(chat);
    const socket = await open(edge);
    socket.pause();
    const [client] = chat.clients;
    for (let at = 0; at < 24; at++) client!.send(Buffer.alloc(1 << 20));
    expect(client!.buffered).toBeGreaterThan(8 << 20);
    expect(chat.drained).toBe(0);
    socket.resume();
    await vi.waitFor(() => expect(chat.drained).toBe(1), { timeout: 5_000 });
    expect(client!.buffered).toBe(0);
    socket.close();
  });
});

describe("closing", () => {
  it("passes code and reason from the client to the session", async () => {
    const chat = room();
    await using edge = await edgeWith(chat);
    const socket = await open(edge);
    socket.close(4321, "bye");
    await vi.waitFor(() => expect(chat.closed).toEqual([[4321, "bye", true]]));
    expect(edge.gateway.stats.sockets).toBe(0);
  });

  it("passes code and reason from the session to the client, cut and corrected to what a frame may carry", async () => {
    const chat = room();
    await using edge = await edgeWith(chat);
    for (const [code, reason, seen, said] of [
      [4000, "done", 4000, "done"],
      [1012, "é".repeat(100), 1012, "é".repeat(61)],
      [999, "", 1011, ""],
      [1005, "", 1005, ""],
      [1006, "", 1006, ""],
    ] as const) {
      const socket = await open(edge);
      chat.clients.at(-1)!.close(code, reason);
      const [got, why] = (await once(socket, "close")) as [number, Buffer];
      expect([got, why.toString()]).toEqual([seen, said]);
    }
    await vi.waitFor(() => expect(chat.closed).toHaveLength(5));
  });

  it("happens right after the handshake when the session closed before it", async () => {
    const chat = room();
    await using edge = await edgeWith({
      connect: (call, client) => {
        client.send("full");
        client.close(4001, "no room");
        return chat.connect(call, client);
      },
    });
    const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${PATH}`);
    const [[data], [code]] = await Promise.all([once(socket, "message"), once(socket, "close")]);
    expect([String(data), code]).toEqual(["full", 4001]);
  });

  it("is told as 1006 and not clean when the client just vanishes", async () => {
    const chat = room();
    await using edge = await edgeWith(chat);
    (await open(edge)).terminate();
    await vi.waitFor(() => expect(chat.closed).toEqual([[1006, "", false]]));
    // Nothing is sent, and nothing breaks, after it.
    chat.clients[0]!.send("anyone?");
    chat.clients[0]!.close(1000, "");
    expect(chat.closed).toHaveLength(1);
  });

  it("of the gateway closes sockets with 1012 after the grace", async () => {
    const chat = room();
    const edge = await edgeWith(chat);
    const socket = await open(edge);
    const closed = once(socket, "close");
    await edge.gateway.close({ graceMs: 10 });
    expect((await closed)[0]).toBe(1012);
    expect(chat.closed).toEqual([[1012, expect.any(String), true]]);
  });
});

describe("a handshake", () => {
  it("is only answered when the session has accepted", async () => {
    const accept = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const chat = room();
    await using edge = await edgeWith({
      connect: async (call, client) => {
        asked.resolve();
        await accept.promise;
        return chat.connect(call, client);
      },
    });
    const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${PATH}`);
    await asked.promise;
    expect([socket.readyState, edge.gateway.stats.inFlight]).toEqual([WebSocket.CONNECTING, 1]);
    accept.resolve();
    await once(socket, "open");
    socket.close();
  });

  it("that the session answers itself gets that answer", async () => {
    const answer = {
      status: 402,
      statusText: "",
      headers: ["content-type", "text/plain", "x-why", "money"],
      body: "pay first",
    };
    await using edge = await edgeWith({ connect: () => ({ status: "answered", reply: answer }) });
    const text = await raw(edge, HANDSHAKE);
    expect(text).toMatch(/^HTTP\/1\.1 402 Payment Required\r\n/);
    expect(text).toMatch(/\r\nx-why: money\r\n/);
    expect(text).toMatch(/\r\n\r\npay first$/);
    expect(edge.gateway.stats).toMatchObject({ sockets: 0, inFlight: 0 });
  });

  it("that the session refuses is an HTTP error", async () => {
    const error = new MeshError("overloaded", "the room is full", { retryAfterMs: 1_000 });
    await using edge = await edgeWith({ connect: () => ({ status: "refused", error }) });
    expect(await raw(edge, HANDSHAKE)).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1\r\n.*the room is full/s);
    expect(edge.gateway.stats).toMatchObject({ sockets: 0, inFlight: 0 });
  });

  it("that nobody answers is a 504", async () => {
    await using edge = await edgeWith({
      limits: { requestTimeoutMs: -1_000 },
      connect: () => new Promise(() => undefined),
    });
    expect(await raw(edge, HANDSHAKE)).toMatch(/^HTTP\/1\.1 504 /);
    expect(edge.router.calls[0]?.cancelled).toMatchObject({ code: "timeout" });
  });

  it("whose client leaves while the session thinks is cancelled, and closed if it is accepted after all", async () => {
    const chat = room();
    const cancelled = Promise.withResolvers<MeshError>();
    const asked = Promise.withResolvers<void>();
    await using edge = await edgeWith({
      connect: async (call, client) => {
        call.onCancel(cancelled.resolve);
        asked.resolve();
        await cancelled.promise;
        client.send("too late");
        return chat.connect(call, client);
      },
    });
    const socket: Socket = connect(edge.port, "127.0.0.1");
    socket.write(`${HANDSHAKE.join("\r\n")}\r\n\r\n`);
    await asked.promise;
    socket.resetAndDestroy();
    expect(await cancelled.promise).toMatchObject({ code: "cancelled" });
    await vi.waitFor(() => expect(chat.closed).toEqual([[1006, "", false]]));
  });

  it("that is malformed gets an error that says why, on a path of a session or not", async () => {
    await using edge = await edgeWith(room());
    const answers: [string[], RegExp][] = [
      [
        without("Sec-WebSocket-Version"),
        /^HTTP\/1\.1 426 .*upgrade: websocket\r\n.*sec-websocket-version: 13\r\n.*bad_upgrade/is,
      ],
      [replace("Version: 13", "Version: 7"), /^HTTP\/1\.1 426 .*sec-websocket-version: 13\r\n/is],
      [replace("Upgrade: websocket", "Upgrade: h2c"), /^HTTP\/1\.1 426 .*only to websocket/s],
      [without("Sec-WebSocket-Key"), /^HTTP\/1\.1 400 .*Sec-WebSocket-Key/s],
      [replace("dGhl", "!!"), /^HTTP\/1\.1 400 /],
      [replace("GET", "POST"), /^HTTP\/1\.1 400 .*must be a GET/s],
      [[...HANDSHAKE, "Content-Length: 4"], /^HTTP\/1\.1 400 .*has no body/s],
      [replace(PATH, "/nope"), /^HTTP\/1\.1 404 .*not_found/s],
      [replace(PATH, "/"), /^HTTP\/1\.1 426 .*only at those of sessions/s],
      [replace(PATH, "/sessions/chat"), /^HTTP\/1\.1 405 .*allow: POST/is],
      [replace(PATH, "/sessions/cart/a"), /^HTTP\/1\.1 404 .*unknown_kind/s],
      [replace(PATH, "/sessions/chat/%ff"), /^HTTP\/1\.1 400 .*bad_name/s],
    ];
    for (const [lines, expected] of answers) expect(await raw(edge, lines)).toMatch(expected);
    expect(edge.router.calls).toEqual([]);
  });

  it("leaves plain requests to the same path alone", async () => {
    await using edge = await edgeWith({ ...room(), fetch: () => reply("plain") });
    expect(await (await fetch(edge.url + PATH)).text()).toBe("plain");
  });
});

describe("partysocket", () => {
  it("works unchanged", async () => {
    const chat = room((message, client) => client.send(message));
    await using edge = await edgeWith(chat);
    const party = new PartySocket({
      host: `127.0.0.1:${edge.port}`,
      protocol: "ws",
      party: "chat",
      room: "lobby",
      WebSocket,
      maxRetries: 0,
    });
    const answer = new Promise<unknown>((resolve) => party.addEventListener("message", (event) => resolve(event.data)));
    party.addEventListener("open", () => party.send("hello party"));
    expect(await answer).toBe("hello party");
    expect(edge.router.calls[0]?.id.key).toBe("chat/lobby");
    party.close();
  });
});

describe("the heartbeat", () => {
  function member(): Beating & { pings: number; dead: boolean; hearing: boolean } {
    return {
      heartbeatSlice: -1,
      missedPings: 0,
      hearing: true,
      pings: 0,
      dead: false,
      ping() {
        this.pings++;
      },
      close: () => undefined,
      terminate() {
        this.dead = true;
      },
    };
  }
  const round = (heartbeat: Heartbeat): void => {
    for (let at = 0; at < 30; at++) heartbeat.beat();
  };

  it("ends a socket that missed two pings, and none that answers or that is not read", () => {
    const heartbeat = new Heartbeat();
    const [silent, alive, paused] = [member(), member(), member()];
    paused.hearing = false;
    for (const socket of [silent, alive, paused]) heartbeat.add(socket);
    for (let at = 0; at < 3; at++) {
      round(heartbeat);
      alive.missedPings = 0;
    }
    expect([silent.pings, silent.dead, alive.pings, alive.dead, paused.dead]).toEqual([2, true, 3, false, false]);
    heartbeat.remove(silent);
    heartbeat.remove(silent);
    expect(heartbeat.size).toBe(2);
    heartbeat.close();
  });

  it("pings real sockets, whose pongs count", async () => {
    await using edge = await edgeWith(room());
    const heartbeat = new Heartbeat();
    const client = new ClientSocket(heartbeat);
    expect(client.hearing).toBe(false);
    const socket = await open(edge);
    socket.ping();
    await once(socket, "pong");
    socket.close();
    heartbeat.close();
  });
});
