import { once } from "node:events";
import { lstat, mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test } from "vitest";
import { listenLinks, type Served, type SessionReply } from "#mesh";
import {
  LINK_METHOD_PATH,
  decodeBatch,
  encodeBatch,
  workerIdOf,
  type Frame,
  type Member,
  type MeshError,
} from "#proto";
import { WINDOW_BYTES } from "../../../mesh/link/window.ts";
import {
  FakeClient,
  asker,
  asking,
  callOf,
  counted,
  host,
  listen,
  memberAt,
  options,
  pair,
  signal,
  textOf,
} from "./loopback.ts";

const stranger = workerIdOf("c", { index: 3, incarnation: "zz" });
const never = () => signal<Served<SessionReply>>().promise;
const hello: Frame = { stream: 0, type: "hello", hello: { from: stranger, to: host, epoch: 7, mesh: "test" } };

const draining = (member: Member): Member => ({ ...member, node: { ...member.node, state: "draining" } });
/** Another worker of the same node. */
const replaced = (member: Member): Member => ({ ...member, id: stranger });

/** A peer that speaks whatever bytes the test gives it. */
function rawPeer(port: number) {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const call = client.makeBidiStreamRequest<Buffer, Frame[]>(LINK_METHOD_PATH, (bytes) => bytes, decodeBatch);
  const ended = new Promise<ServiceError>((resolve) => call.once("error", resolve));
  onTestFinished(() => {
    call.cancel();
    client.close();
  });
  return { ended, call, send: (...frames: Frame[]) => void call.write(encodeBatch(frames)) };
}

function openOf(stream: number, fields: Partial<Extract<Frame, { type: "open" }>["open"]> = {}): Frame {
  const open = {
    epoch: 7,
    key: "chat/lobby",
    method: "POST",
    url: "http://localhost/",
    headers: [],
    upgrade: false,
    onlyIfActive: false,
    timeoutMs: 1_000,
    body: new Uint8Array(0),
    streamed: false,
    stale: "",
    ip: "",
    claims: new Uint8Array(0),
    protocol: "",
    ...fields,
  };
  return { stream, type: "open", open };
}

describe("a link that cannot be made", () => {
  test("nobody listens: unreached, and nothing of the body is read", async () => {
    const source = counted(1_000);
    const port = await unusedPort();
    const outcome = await asking().call(
      memberAt({ port, socket: "" }, "tcp"),
      callOf({ body: source.stream }),
      options,
    );
    expect(outcome).toMatchObject({ status: "unreached", error: { code: "no_host" } });
    expect(source.pulledBytes).toBe(0);
  });

  test("no socket file: unreached", async () => {
    const socket = path.join(tmpdir(), "no-such-worker.sock");
    const outcome = await asking().connect(memberAt({ port: 1, socket }), callOf(), new FakeClient(), options);
    expect(outcome).toMatchObject({ status: "unreached" });
  });

  test("another worker listens at the address: unreached", async () => {
    const listener = await listen({ call: never });
    const outcome = await asking().call(memberAt(listener, "tcp", stranger), callOf(), options);
    expect(outcome).toMatchObject({ status: "unreached" });
  });

  test("a worker of another mesh listens: unreached", async () => {
    const listener = await listen({ call: never });
    expect(await asking(asker, "other").call(memberAt(listener), callOf(), options)).toMatchObject({
      status: "unreached",
    });
  });

  test("the peer does not admit us: unreached, and the service is asked with our id and epoch", async () => {
    const asked: unknown[] = [];
    const { links, member } = await pair({
      call: never,
      admit: (from, epoch) => {
        asked.push([from, epoch]);
        return Promise.resolve(false);
      },
    });
    expect(await links.call(member, callOf(), options)).toMatchObject({ status: "unreached" });
    expect(asked).toEqual([[asker, 7]]);
  });

  test("the peer accepts connections and says nothing: unreached after the time-out", async () => {
    const silent = net.createServer();
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => void silent.close());
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const links = asking();
    expect(await links.call(memberAt({ port, socket: "" }, "tcp"), callOf(), options)).toMatchObject({
      status: "unreached",
    });
    await expect(
      links.ask(memberAt({ port, socket: "" }, "tcp"), { epoch: 1, ended: { sessions: [] } }, 20),
    ).rejects.toMatchObject({
      code: "timeout",
    });
  });

  test("calls that wait for the same link all go when it is up", async () => {
    const admitted = signal<boolean>();
    const { links, member } = await pair({ admit: () => admitted.promise, call: (_, call) => reply(call.url) });
    const outcomes = ["1", "2", "3"].map((url) => links.call(member, callOf({ url }), options));
    admitted.resolve(true);
    expect((await Promise.all(outcomes)).map((outcome) => outcome.status)).toEqual(["reply", "reply", "reply"]);
  });
});

describe("a link that breaks", () => {
  test("calls that may have started fail with session_lost, and the next call makes a new link", async () => {
    const started = signal();
    const { links, member, listener } = await pair({
      call: () => {
        started.resolve();
        return never();
      },
    });
    const outcome = links.call(member, callOf(), options);
    const question = links.ask(member, { epoch: 7, ended: { sessions: [] } }, 5_000);
    await started.promise;
    await question;
    await listener.close();
    expect(await outcome).toMatchObject({ status: "failed", error: { code: "session_lost" } });
    const again = await listen({ call: () => reply("back") });
    const next = await links.call(memberAt(again), callOf(), options);
    expect(next.status === "reply" && (await textOf(next.reply.body))).toBe("back");
  });

  test("the reader of a response that was cut gets session_lost", async () => {
    const { links, member, listener } = await pair({
      call: () => ({ status: "reply", reply: { ...whole, body: counted(Infinity).stream } }),
    });
    const outcome = await links.call(member, callOf(), options);
    if (outcome.status !== "reply" || !(outcome.reply.body instanceof ReadableStream)) throw new Error(outcome.status);
    const reader = outcome.reply.body.getReader();
    await reader.read();
    await listener.close();
    const rest = async () => {
      while (!(await reader.read()).done);
    };
    await expect(rest()).rejects.toMatchObject({ code: "session_lost" });
  });

  test("the host's calls are cancelled when the asker closes", async () => {
    const cancelled = signal<MeshError>();
    const started = signal();
    const { links, member } = await pair({
      call: (_, call) => {
        call.onCancel((reason) => cancelled.resolve(reason));
        started.resolve();
        return never();
      },
    });
    const outcome = links.call(member, callOf(), options);
    await started.promise;
    await links.close();
    expect(await outcome).toMatchObject({ status: "failed", error: { code: "session_lost" } });
    expect(await cancelled.promise).toMatchObject({ code: "cancelled" });
    expect(await links.call(member, callOf(), options)).toMatchObject({ status: "unreached" });
  });

  test("retain drops a peer that left: its calls fail, on either side", async () => {
    const cancelled = signal<MeshError>();
    const started = signal();
    const { links, member, listener } = await pair({
      call: (_, call) => {
        call.onCancel((reason) => cancelled.resolve(reason));
        started.resolve();
        return never();
      },
    });
    const first = links.call(member, callOf(), options);
    await started.promise;
    links.retain([member]);
    listener.retain([memberAt(listener, "unix", asker)]);
    expect(await Promise.race([first, links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000)])).toMatchObject({
      ok: true,
    });
    links.retain([]);
    expect(await first).toMatchObject({ status: "failed", error: { code: "session_lost" } });
    await cancelled.promise;

    const second = links.call(member, callOf(), options);
    await links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000);
    listener.retain([]);
    expect(await second).toMatchObject({ status: "failed", error: { code: "session_lost" } });
  });
});

describe("a peer that has left", () => {
  test("still answers what is under way, and then sees its last link go", async () => {
    const reply = Promise.withResolvers<Served<SessionReply>>();
    const started = signal();
    const { links, member, listener } = await pair({
      call: () => {
        started.resolve();
        return reply.promise;
      },
    });
    const outcome = links.call(member, callOf(), options);
    await started.promise;
    links.retain([draining(member)]);
    links.retain([]);
    const deserted = listener.deserted(10_000);
    reply.resolve({ status: "moved", worker: undefined, epoch: 8 });
    expect(await outcome).toMatchObject({ status: "moved", epoch: 8 });
    await deserted;
  });

  test("is given longer for its answers than one whose node was evicted, and as long as one whose node stays", async () => {
    const failed = async (views: (member: Member) => readonly Member[][]): Promise<void> => {
      const started = signal();
      const { links, member } = await pair({
        call: () => {
          started.resolve();
          return never();
        },
      });
      const outcome = links.call(member, callOf(), options);
      await started.promise;
      for (const members of views(member)) links.retain(members);
      expect(await outcome).toMatchObject({ status: "failed", error: { code: "session_lost" } });
    };
    const order: string[] = [];
    await Promise.all([
      failed((member) => [[draining(member)], []]).then(() => order.push("left")),
      failed((member) => [[replaced(member)]]).then(() => order.push("replaced")),
      failed(() => [[]]).then(() => order.push("evicted")),
    ]);
    expect(order[0]).toBe("evicted");
  });

  test("is deserted at once when no link was made, and after the limit when one stays", async () => {
    const { links, member, listener } = await pair({});
    await listener.deserted(10_000);
    await links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000);
    await listener.deserted(10);
    expect(await links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000)).toMatchObject({ ok: true });
  });
});

describe("a peer that breaks the protocol", () => {
  const harm: [string, (peer: ReturnType<typeof rawPeer>) => void][] = [
    ["bytes that are no batch", (peer) => void peer.call.write(Buffer.from([0xff, 0xff, 0xff, 0xff]))],
    ["no hello first", (peer) => peer.send(openOf(1))],
    ["a worker id that is none", (peer) => peer.send({ ...hello, hello: { ...hello.hello, from: "nobody" } })],
    ["a second hello", (peer) => peer.send(hello, hello)],
    ["a stream number twice", (peer) => peer.send(hello, openOf(1), openOf(1))],
    [
      "more data than the window",
      (peer) => {
        const bytes = new Uint8Array(WINDOW_BYTES);
        const data: Frame = { stream: 1, type: "data", data: { bytes, end: false } };
        peer.send(hello, openOf(1, { streamed: true }), data, data);
      },
    ],
    [
      "data for a call without a body",
      (peer) =>
        peer.send(hello, openOf(1), { stream: 1, type: "data", data: { bytes: new Uint8Array(1), end: false } }),
    ],
    [
      "a head",
      (peer) =>
        peer.send(hello, { stream: 1, type: "head", head: { ...whole, body: new Uint8Array(0), streamed: false } }),
    ],
    [
      "a message to a socket that is not open",
      (peer) =>
        peer.send(hello, openOf(1, { upgrade: true }), {
          stream: 1,
          type: "message",
          message: { bytes: new Uint8Array(1), binary: true },
        }),
    ],
  ];

  test.each(harm)("%s closes that link and no other", async (_, send) => {
    const { links, member, listener } = await pair({
      call: never,
      connect: () => signal<never>().promise,
    });
    const quiet = links.call(member, callOf(), options);
    const peer = rawPeer(listener.port);
    send(peer);
    await peer.ended;
    const answer = links.ask(member, { epoch: 7, ended: { sessions: [] } }, 1_000);
    expect(await Promise.race([quiet, answer])).toMatchObject({ ok: true });
  });

  test("bytes that are not even HTTP/2 close that connection and no other", async () => {
    const { links, member, listener } = await pair({ call: () => reply("fine") });
    const socket = net.connect(listener.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.resume();
    socket.write("GET / HTTP/1.1\r\n\r\n".repeat(10));
    await once(socket, "close");
    expect(await links.call(member, callOf(), options)).toMatchObject({ status: "reply" });
  });

  test("a session name that is not valid costs its call, not the link", async () => {
    const listener = await listen({ call: () => reply("fine") });
    const peer = rawPeer(listener.port);
    const frames: Frame[] = [];
    const answered = signal();
    peer.call.on("data", (batch: Frame[]) => {
      frames.push(...batch);
      if (frames.length >= 3) answered.resolve();
    });
    peer.send(hello, openOf(1, { key: "not a key" }), openOf(2));
    await answered.promise;
    expect(frames).toMatchObject([
      { type: "hello" },
      { type: "reset", stream: 1, reset: { code: "bad_name" } },
      { type: "head", stream: 2 },
    ]);
  });

  test("frames sent behind the hello wait until the peer is admitted", async () => {
    const admitted = signal<boolean>();
    const called: string[] = [];
    const asked = signal();
    const listener = await listen({
      admit: () => {
        asked.resolve();
        return admitted.promise;
      },
      call: (_, call) => {
        called.push(call.id.key);
        return reply("fine");
      },
    });
    const peer = rawPeer(listener.port);
    const headed = signal();
    peer.call.on("data", (batch: Frame[]) => {
      if (batch.some((frame) => frame.type === "head")) headed.resolve();
    });
    peer.send(hello, openOf(1));
    await asked.promise;
    expect(called).toEqual([]);
    admitted.resolve(true);
    await headed.promise;
    expect(called).toEqual(["chat/lobby"]);
  });

  test("a new link of the same worker replaces the older one", async () => {
    const listener = await listen({ call: () => reply("fine") });
    const older = rawPeer(listener.port);
    older.send(hello);
    await once(older.call, "data");
    const newer = rawPeer(listener.port);
    newer.send(hello);
    await once(newer.call, "data");
    expect((await older.ended).details).toContain("newer link");
  });
});

describe("the socket file", () => {
  test("a stale one is replaced, and it is gone after close", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "link-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const socketPath = path.join(folder, "w.sock");
    const first = await listenLinks({ ...listening, socketPath });
    const second = await listenLinks({ ...listening, socketPath });
    await second.close();
    await first.close();
    await expect(lstat(socketPath)).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a file that is no socket is left alone", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "link-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const socketPath = path.join(folder, "w.sock");
    await writeFile(socketPath, "precious");
    await expect(listenLinks({ ...listening, socketPath })).rejects.toMatchObject({ code: "bad_config" });
    expect((await lstat(socketPath)).isFile()).toBe(true);
  });

  test("a path that the kernel would cut is refused", async () => {
    await expect(listenLinks({ ...listening, socketPath: `/tmp/${"x".repeat(100)}` })).rejects.toMatchObject({
      code: "bad_config",
    });
  });
});

const whole = { status: 200, statusText: "OK", headers: [], body: null };

const listening = {
  self: host,
  mesh: "test",
  bind: "127.0.0.1",
  epoch: () => 1,
  service: {
    admit: () => Promise.resolve(true),
    call: never,
    connect: () => signal<never>().promise,
    ask: () => ({ ok: true, sessions: [], more: false }),
  },
};

function reply(body: string): Served<SessionReply> {
  return { status: "reply", reply: { ...whole, body } };
}

async function unusedPort(): Promise<number> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
