// What a session may say on a socket, how it may close one, and what its id is.

import { describe, expect, test } from "vitest";
import { SessionServer, type SessionSocket, type SocketMessage } from "sessionmesh";
import { callTo, codeOf, settle, startHost } from "./harness.ts";

/** Does to the socket that a message came from what the test says. */
let act: (socket: SessionSocket, room: SessionServer) => void = () => {};
let errors: unknown[] = [];

class Room extends SessionServer {
  override onMessage(socket: SessionSocket): void {
    try {
      act(socket, this);
    } catch (error) {
      errors.push(error);
    }
  }
}

async function doing(what: typeof act) {
  act = what;
  errors = [];
  const mesh = startHost({ room: Room });
  const { client, end } = await mesh.connect("room/a");
  const other = await mesh.connect("room/a");
  await end.message("go");
  await settle();
  return { ...mesh, client, end, other: other.client };
}

/** The two middle numbers of a larger buffer, as only a view can name them. */
const within = new Uint16Array([9, 1, 2, 9]).buffer;
const MIDDLE = Buffer.from([1, 0, 2, 0]);

describe("a socket sends", () => {
  test.each<[string, SocketMessage, string | Uint8Array]>([
    ["text", "é", "é"],
    ["an ArrayBuffer", new Uint8Array([1, 0, 2, 0]).buffer, MIDDLE],
    ["bytes", new Uint8Array(within, 2, 4), MIDDLE],
    ["a Buffer", Buffer.from(within, 2, 4), MIDDLE],
    ["other numbers", new Uint16Array(within, 2, 2), MIDDLE],
    ["clamped bytes", new Uint8ClampedArray(within, 2, 4), MIDDLE],
    ["a DataView", new DataView(within, 2, 4), MIDDLE],
    ["floats", new Float64Array([0]), Buffer.alloc(8)],
    ["a Blob", new Blob(["two", " parts"]), Buffer.from("two parts")],
  ])("%s", async (_name, message, expected) => {
    const { client, other } = await doing((socket, room) => {
      socket.send(message);
      room.broadcast(message, { except: socket });
    });
    expect(errors).toEqual([]);
    for (const { sent } of [client, other]) {
      expect(sent).toHaveLength(1);
      expect(typeof sent[0] === "string" ? sent[0] : Buffer.from(sent[0] ?? "")).toEqual(expected);
    }
  });

  test.each([[undefined], [null], [1], [{ text: "hello" }], [["a", "b"]], [() => "text"]])(
    "not %s: the code that tries hears what it may send",
    async (message) => {
      const { client, ended } = await doing((socket) => socket.send(message as unknown as string));
      expect(errors).toMatchObject([{ name: "TypeError", message: expect.stringContaining("a DataView or a Blob") }]);
      expect(client.closed).toBeUndefined();
      expect(ended).toEqual([]);
    },
  );

  test("in the order of the calls, also behind a blob, and closes after that", async () => {
    const { client, other } = await doing((socket, room) => {
      socket.send("one");
      socket.send(new Blob(["two"]));
      room.broadcast(new Blob(["three"]));
      socket.send("four");
      expect(socket.bufferedAmount).toBe(3 + 5 + 4);
      socket.close(1001, "done");
    });
    expect(errors).toEqual([]);
    expect(client.sent.map((data) => Buffer.from(data).toString())).toEqual(["one", "two", "three", "four"]);
    expect(client.closed).toEqual({ code: 1001, reason: "done" });
    expect(other.sent).toHaveLength(1);
  });

  test("a blob, until its client leaves", async () => {
    let drained = false;
    const { client } = await doing((socket) => {
      socket.send(new Blob(["never"]));
      void socket.drain().then(() => (drained = true));
    });
    expect(client.sent).toHaveLength(1);
    expect(drained).toBe(true);
  });
});

test("a blob that counts as too much for a client that does not read closes it with 1013", async () => {
  const { client } = await doing((socket) => socket.send(new Blob(["x".repeat(5 * 1024 * 1024)])));
  expect(client.closed).toEqual({ code: 1013, reason: "client reads too slowly" });
});

describe("a socket can be closed with", () => {
  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])(
    "%i",
    async (code) => {
      const { client, ended } = await doing((socket) => socket.close(code, "why"));
      expect(errors).toEqual([]);
      expect(client.closed).toEqual({ code, reason: "why" });
      expect(ended).toEqual([]);
    },
  );

  test.each<[unknown, unknown]>([
    [999, ""],
    [1004, ""],
    [1005, ""],
    [1006, ""],
    [1015, ""],
    [2999, ""],
    [5000, ""],
    [1000.5, ""],
    ["1000", ""],
    [1000, "€".repeat(42)],
    [1000, 7],
  ])("not %j %j: the code that tries hears what it may say, and the socket stays", async (code, reason) => {
    const { client, ended } = await doing((socket) => socket.close(code as number, reason as string));
    expect(errors).toMatchObject([{ name: expect.stringMatching(/^(Range|Type)Error$/) }]);
    expect(client.closed).toBeUndefined();
    expect(ended).toEqual([]);
  });
});

describe("a socket's id", () => {
  const ids: string[] = [];
  class Named extends SessionServer {
    override onConnect(socket: SessionSocket): void {
      ids.push(socket.id);
    }
  }

  test("is the _pk that its client asks for, even twice at once", async () => {
    const { host, start } = startHost({ named: Named });
    start("named/a");
    ids.length = 0;
    for (const query of ["_pk=alice", "x=1&_pk=alice", "_pk=a%40b.c"]) {
      const reply = host.connect(callTo("named/a", { path: `/?${query}` }), nobody());
      expect(reply).toMatchObject({ status: "accepted" });
    }
    expect(ids).toEqual(["alice", "alice", "a@b.c"]);
  });

  test.each(["_pk=", "", "x_pk=7"])("is random for ?%s", async (query) => {
    const { host, start } = startHost({ named: Named });
    start("named/a");
    void host.connect(callTo("named/a", { path: `/?${query}` }), nobody());
    expect(ids.at(-1)).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  });

  test.each(["a b", "%3Cscript%3E", "x".repeat(129), "%0A", "é"])(
    "is never %s: the handshake is refused",
    async (id) => {
      const { host, start } = startHost({ named: Named });
      start("named/a");
      const before = ids.length;
      expect(await codeOf(refusal(host.connect(callTo("named/a", { path: `/?_pk=${id}` }), nobody())))).toBe(
        "bad_request",
      );
      expect(ids).toHaveLength(before);
    },
  );
});

function nobody() {
  return { send: () => {}, buffered: 0, close: () => {} };
}

async function refusal(reply: unknown): Promise<void> {
  const answered = (await reply) as { readonly status: string; readonly error?: unknown };
  if (answered.status === "refused") throw answered.error;
}
