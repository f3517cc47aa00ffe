// Packets over a real pipe, cut by it wherever it likes.

import { once } from "node:events";
import net from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { PipeStream } from "../../../node/enclosure/pipe-stream.ts";

async function pipe(): Promise<readonly [net.Socket, net.Socket]> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const one = net.connect(typeof address === "object" ? (address?.port ?? 0) : 0, "127.0.0.1");
  const [two] = (await once(server, "connection")) as [net.Socket];
  onTestFinished(() => {
    one.destroy();
    two.destroy();
    server.close();
  });
  return [one, two];
}

function listen(socket: net.Socket) {
  const packets: Buffer[] = [];
  const closed = Promise.withResolvers<void>();
  const stream = new PipeStream(socket, {
    received: (packet) => void packets.push(Buffer.from(packet)),
    drained: () => {},
    closed: () => closed.resolve(),
  });
  return { packets, stream, closed: closed.promise };
}

test("packets of any size arrive whole and in order", async () => {
  const [one, two] = await pipe();
  const from = listen(one);
  const to = listen(two);
  const sizes = [0, 1, 5, 300_000, 2, 1_000_000, 0];
  for (const [at, size] of sizes.entries()) from.stream.send(new Uint8Array(size).fill(at));
  one.end();
  await to.closed;
  expect(to.packets.map((packet) => packet.byteLength)).toEqual(sizes);
  expect(to.packets.every((packet, at) => packet.every((byte) => byte === at))).toBe(true);
});

test("packets that arrive byte by byte are put together", async () => {
  const [one, two] = await pipe();
  const to = listen(two);
  one.setNoDelay();
  for (const byte of [0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9]) {
    one.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  one.end();
  await to.closed;
  expect(to.packets).toEqual([Buffer.of(7, 8), Buffer.of(9)]);
});

test("a pipe that brings no packets is closed", async () => {
  const [one, two] = await pipe();
  const to = listen(two);
  one.on("error", () => {});
  one.write("GET / HTTP/1.1\r\n\r\n");
  await to.closed;
  expect(to.packets).toEqual([]);
});
