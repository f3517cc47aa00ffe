import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocket, WebSocketServer, type RawData } from "ws";
import { smallFrame } from "../../../node/gateway/small-frame.ts";

const server = createServer();
const handshakes = new WebSocketServer({ noServer: true, perMessageDeflate: false });
let messages: (string | Uint8Array)[] = [];

beforeAll(async () => {
  server.on("upgrade", (request, socket, head) => {
    handshakes.handleUpgrade(request, socket, head, () => {
      for (const message of messages) socket.write(smallFrame(message) ?? Buffer.alloc(0));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterAll(() => {
  for (const client of handshakes.clients) client.terminate();
  server.close();
});

/** What a client of `ws` makes of the frames of these messages. */
async function read(sent: (string | Uint8Array)[]): Promise<(string | Uint8Array)[]> {
  messages = sent;
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const got: (string | Uint8Array)[] = [];
  const all = Promise.withResolvers<void>();
  client.on("error", all.reject);
  client.on("message", (data: RawData, binary: boolean) => {
    const bytes = data as Buffer;
    got.push(binary ? new Uint8Array(bytes) : bytes.toString());
    if (got.length === sent.length) all.resolve();
  });
  await all.promise;
  client.terminate();
  return got;
}

test("messages arrive as they were sent, at each length at which the head of a frame changes", async () => {
  const lengths = [0, 1, 124, 125, 126, 127, 255, 256, 4_095, 4_096];
  const texts = lengths.map((length) => "x".repeat(length));
  const bytes = lengths.map((length) => Uint8Array.from({ length }, (_, at) => at));
  expect(await read([...texts, ...bytes])).toEqual([...texts, ...bytes]);
});

test("text of several bytes a character arrives whole, and half a surrogate pair as the replacement character", async () => {
  expect(await read(["é", "日本", "😀".repeat(31), "é".repeat(63), "a\ud800b"])).toEqual([
    "é",
    "日本",
    "😀".repeat(31),
    "é".repeat(63),
    "a\ufffdb",
  ]);
});

test("a message over 4,096 bytes is left to `ws`, whether its characters or its bytes are too many", () => {
  expect(smallFrame("x".repeat(4_097))).toBeUndefined();
  expect(smallFrame("é".repeat(2_049))).toBeUndefined();
  expect(smallFrame(new Uint8Array(4_097))).toBeUndefined();
});
