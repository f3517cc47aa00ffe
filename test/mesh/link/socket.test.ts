import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { CallOutcome, ClientEnd, ConnectAnswer, LinkService, Served, SessionEnd } from "#mesh";
import { MeshError } from "#proto";
import { WINDOW_BYTES } from "../../../mesh/link/window.ts";
import { FakeClient, asker, asking, callOf, options, pair, signal } from "./loopback.ts";

/** A session that keeps what happens to it. */
class FakeSession implements SessionEnd {
  readonly client: ClientEnd;
  readonly messages: (string | Uint8Array)[] = [];
  drains = 0;
  ended: readonly [number, string, boolean] | undefined;
  onMessage: (data: string | Uint8Array) => void | Promise<void> = () => {};
  #waiting: (() => void)[] = [];

  constructor(client: ClientEnd) {
    this.client = client;
  }

  message(data: string | Uint8Array): void | Promise<void> {
    this.messages.push(data);
    this.#notify();
    return this.onMessage(data);
  }

  drained(): void {
    this.drains += 1;
    this.#notify();
  }

  closed(code: number, reason: string, clean: boolean): void {
    this.ended = [code, reason, clean];
    this.#notify();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

async function connected(prepare: (session: FakeSession) => void = () => {}, over: "tcp" | "unix" = "unix") {
  const made = signal<FakeSession>();
  const { links, member, listener } = await pair(
    {
      connect: (_, __, client) => {
        const session = new FakeSession(client);
        prepare(session);
        made.resolve(session);
        return { status: "reply", reply: { status: "accepted", end: session } };
      },
    },
    over,
  );
  const client = new FakeClient();
  const end = endOf(await links.connect(member, callOf({ method: "GET" }), client, options));
  return { links, listener, member, client, end, session: await made.promise };
}

function endOf(outcome: CallOutcome<ConnectAnswer>): SessionEnd {
  if (outcome.status !== "reply" || outcome.reply.status !== "accepted")
    throw new Error(`not accepted: ${outcome.status}`);
  return outcome.reply.end;
}

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await turn();
}

describe("a socket over a link", () => {
  test.each([
    ["text", "pay first", "pay first"],
    ["bytes", Buffer.alloc(64 * 1024, "\u00ff", "latin1"), Buffer.alloc(64 * 1024, "\u00ff", "latin1")],
    ["nothing", null, null],
  ])("that the session answers with a reply of its own brings %s, and no socket", async (_name, body, expected) => {
    const reply = { status: 402, statusText: "Pay", headers: ["x-why", "money"], body };
    const { links, member } = await pair({
      connect: () => ({ status: "reply", reply: { status: "answered", reply } }),
    });
    const outcome = await links.connect(member, callOf({ method: "GET" }), new FakeClient(), options);
    if (outcome.status !== "reply" || outcome.reply.status !== "answered") throw new Error(outcome.status);
    const { body: arrived, ...head } = outcome.reply.reply;
    expect(head).toEqual({ status: 402, statusText: "Pay", headers: ["x-why", "money"] });
    expect(arrived instanceof Uint8Array ? Buffer.from(arrived) : arrived).toEqual(expected);
  });

  test("that breaks tells its client no address of a worker; the log has it", async () => {
    const lines: unknown[] = [];
    const made = signal<FakeSession>();
    const { member, listener } = await pair({
      connect: (_, __, client) => {
        made.resolve(new FakeSession(client));
        return made.promise.then((end) => ({ status: "reply", reply: { status: "accepted", end } }));
      },
    });
    const links = asking(undefined, undefined, (level, message, fields) => lines.push({ level, message, ...fields }));
    const client = new FakeClient();
    endOf(await links.connect(member, callOf({ method: "GET" }), client, options));
    await listener.close();
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toEqual({ code: 1012, reason: "the connection to the session's host broke" });
    expect(lines).toMatchObject([{ level: "warn", message: expect.stringContaining("a link broke"), to: member.id }]);
  });

  test.each(["tcp", "unix"] as const)("echoes text and binary in order over %s", async (over) => {
    const { client, end } = await connected((session) => {
      session.onMessage = (data) => session.client.send(data);
    }, over);
    const sent = Array.from({ length: 200 }, (_, at) => (at % 2 === 0 ? `text ${at} é` : Uint8Array.of(at, 0, 255)));
    for (const data of sent) await end.message(data);
    await client.until(() => client.sent.length === sent.length);
    expect(client.sent.map((data) => (typeof data === "string" ? data : [...data]))).toEqual(
      sent.map((data) => (typeof data === "string" ? data : [...data])),
    );
  });

  test("empty messages arrive, and a message of 8 MiB does", async () => {
    const { client, end } = await connected((session) => {
      session.onMessage = (data) => session.client.send(data);
    });
    void end.message("");
    void end.message(new Uint8Array(0));
    void end.message(new Uint8Array(8 * 1024 * 1024).fill(7));
    await client.until(() => client.sent.length === 3);
    expect(client.sent[0]).toBe("");
    expect(client.sent[1]).toHaveLength(0);
    expect(client.sent[2]).toHaveLength(8 * 1024 * 1024);
  });

  test("what the session sends before it accepts comes after the acceptance", async () => {
    const { client } = await connected((session) => {
      session.client.send("welcome");
      session.client.send("again");
    });
    await client.until(() => client.sent.length === 2);
    expect(client.sent).toEqual(["welcome", "again"]);
  });

  test("bytes that the session writes over after sending arrive as they were", async () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const { client } = await connected((session) => {
      session.client.send(bytes);
      bytes.fill(9);
    });
    await client.until(() => client.sent.length === 1);
    expect(client.sent[0]).toEqual(Uint8Array.of(1, 2, 3));
  });

  test("a refusal and a denial travel as outcomes", async () => {
    const refuse: LinkService["connect"] = () => Promise.reject(new MeshError("forbidden", "not you"));
    const deny: LinkService["connect"] = () => ({ status: "moved", worker: asker, epoch: 8 });
    const refusing = await pair({ connect: refuse });
    expect(await refusing.links.connect(refusing.member, callOf(), new FakeClient(), options)).toMatchObject({
      status: "failed",
      error: { code: "forbidden", message: "not you" },
    });
    const denying = await pair({ connect: deny });
    expect(await denying.links.connect(denying.member, callOf(), new FakeClient(), options)).toEqual({
      status: "moved",
      worker: asker,
      epoch: 8,
    });
  });
});

describe("back-pressure from client to session", () => {
  test("a message waits while the session is busy with a window of them, and goes on when it is not", async () => {
    const free = signal();
    const { end, session } = await connected((made) => {
      made.onMessage = () => free.promise;
    });
    const chunk = new Uint8Array(64 * 1024);
    let waiting: void | Promise<void> = undefined;
    let sent = 0;
    for (; waiting === undefined; sent++) waiting = end.message(chunk);
    expect(sent * chunk.byteLength).toBeLessThanOrEqual(WINDOW_BYTES + chunk.byteLength);
    for (let at = 0; at < 8; at++, sent++) void end.message(chunk);
    await turns(50);
    expect(session.messages.length * chunk.byteLength).toBeLessThanOrEqual(WINDOW_BYTES + chunk.byteLength);
    free.resolve();
    await waiting;
    await session.until(() => session.messages.length === sent);
  });

  test("the client's end comes behind all that it sent", async () => {
    const free = signal();
    const { end, session } = await connected((made) => {
      made.onMessage = () => free.promise;
    });
    for (let at = 0; at < 20; at++) void end.message(new Uint8Array(64 * 1024));
    end.closed(1001, "going away", true);
    await turns(50);
    expect(session.ended).toBeUndefined();
    free.resolve();
    await session.until(() => session.ended !== undefined);
    expect(session.messages).toHaveLength(20);
    expect(session.ended).toEqual([1001, "going away", true]);
  });
});

describe("back-pressure from session to client", () => {
  test("`buffered` counts what the client's kernel has not taken, and `drained` says that it has", async () => {
    const { client, session, end } = await connected();
    client.buffered = 1;
    session.client.send(new Uint8Array(100_000));
    session.client.send(new Uint8Array(100_000));
    expect(session.client.buffered).toBeGreaterThanOrEqual(200_000);
    await client.until(() => client.sent.length === 2);
    client.buffered = 200_000;
    await turns(20);
    expect(session.drains).toBe(0);
    client.buffered = 0;
    end.drained();
    await session.until(() => session.drains === 1);
    expect(session.client.buffered).toBe(0);
  });

  test("a few bytes are credited soon, without more traffic", async () => {
    const { client, session } = await connected();
    session.client.send("hello");
    await client.until(() => client.sent.length === 1);
    await session.until(() => session.drains === 1);
    expect(session.client.buffered).toBe(0);
  });

  test("only a window of messages is under way to a client that reads nothing", async () => {
    const { client, session } = await connected();
    client.buffered = Number.MAX_SAFE_INTEGER;
    for (let at = 0; at < 100; at++) session.client.send(new Uint8Array(64 * 1024));
    await turns(100);
    expect(client.sent.length * 64 * 1024).toBeLessThanOrEqual(WINDOW_BYTES + 64 * 1024);
    expect(session.client.buffered).toBeGreaterThanOrEqual(100 * 64 * 1024);
  });

  test("the session's close comes behind what it sent, and its end is what the client says", async () => {
    const { client, session, end } = await connected();
    client.buffered = Number.MAX_SAFE_INTEGER;
    for (let at = 0; at < 20; at++) session.client.send(new Uint8Array(64 * 1024));
    session.client.close(4000, "bye");
    session.client.send("lost");
    await turns(50);
    expect(client.closed).toBeUndefined();
    client.buffered = 0;
    end.drained();
    await client.until(() => client.closed !== undefined);
    expect(client.sent).toHaveLength(20);
    expect(client.closed).toEqual({ code: 4000, reason: "bye" });
    end.closed(4000, "bye", true);
    await session.until(() => session.ended !== undefined);
    expect(session.ended).toEqual([4000, "bye", true]);
  });
});

describe("a socket whose other end is lost", () => {
  test("the client is closed with 1012 when the session's worker is gone", async () => {
    const { client, listener, end } = await connected();
    await listener.close();
    await client.until(() => client.closed !== undefined);
    expect(client.closed?.code).toBe(1012);
    end.closed(1012, "", true);
    expect(end.message("into the void")).toBeUndefined();
  });

  test("the session is told 1006 when the gateway's worker is gone", async () => {
    const { session, links } = await connected();
    await links.close();
    await session.until(() => session.ended !== undefined);
    expect(session.ended).toEqual([1006, "link lost", false]);
    session.client.send("into the void");
    expect(session.client.buffered).toBe(0);
  });

  test("a message that waits for a lost session settles", async () => {
    const { end, listener } = await connected((made) => {
      made.onMessage = () => signal().promise;
    });
    let waiting: void | Promise<void> = undefined;
    while (waiting === undefined) waiting = end.message(new Uint8Array(64 * 1024));
    await listener.close();
    await waiting;
  });

  test("a client that goes away before the session accepted it ends the session's side", async () => {
    const accept = signal<Served<ConnectAnswer>>();
    const made = signal<FakeSession>();
    const { links, member } = await pair({
      connect: (_, call, client) => {
        const session = new FakeSession(client);
        call.onCancel(() => accept.resolve({ status: "reply", reply: { status: "accepted", end: session } }));
        made.resolve(session);
        return accept.promise;
      },
    });
    const call = callOf();
    const outcome = links.connect(member, call, new FakeClient(), options);
    const session = await made.promise;
    call.cancel(new MeshError("cancelled", "gone"));
    expect(await outcome).toMatchObject({ status: "failed", error: { code: "cancelled" } });
    await session.until(() => session.ended !== undefined);
    expect(session.ended?.[0]).toBe(1006);
  });
});
