// WebSocket load, as a process of its own: raw sockets, one frame built beforehand, one message in flight on each socket. Echoes are only
// compared in length and first byte, so that the load costs less than what it measures. ws-sockets.ts drives it over IPC.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import type { LoadResult } from "./wrk.ts";

const PAYLOAD = Buffer.from("a message of thirty-two letters.");
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const TEXT_FRAME = 0x81;
const PING_FRAME = 0x89;
const PONG = Buffer.concat([Buffer.from([0x8a, 0x80]), MASK]);
const FRAME = Buffer.concat([
  Buffer.from([TEXT_FRAME, 0x80 | PAYLOAD.length]),
  MASK,
  PAYLOAD.map((byte, at) => byte ^ (MASK[at % 4] ?? 0)),
]);
const EMPTY = Buffer.alloc(0);
/** Handshakes under way at once: more would overflow a listener's backlog. */
const OPENING_MAX = 64;
/** The same for a crowd that is timed: enough that the server never waits for us. */
const CROWD_WIDTH = 512;
/** Latencies are kept to 0.05 ms, up to 5 s. */
const BUCKETS_PER_MS = 20;
const BUCKETS = 5_000 * BUCKETS_PER_MS;

export type ToLoad =
  | { readonly type: "open"; readonly port: number; readonly paths: readonly string[]; readonly sockets: number }
  | { readonly type: "run"; readonly seconds: number }
  /** As many as that, as fast as they are taken. */
  | { readonly type: "connect"; readonly port: number; readonly paths: readonly string[]; readonly sockets: number }
  | { readonly type: "close" };
export type FromLoad = "open" | "closed" | LoadResult | { readonly failed: string };

let endAt = 0;
let echoes = 0;
let waiting = 0;
let whenDone: (() => void) | undefined;
const latencies = new Uint32Array(BUCKETS);

/** One client. */
class Client {
  readonly socket: net.Socket;
  #rest: Buffer = EMPTY;
  #sentAt = 0;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("close", () => fail("the server closed a socket"));
  }

  say(now: number): void {
    this.#sentAt = now;
    waiting += 1;
    this.socket.write(FRAME);
  }

  #take(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    // No frame of ours is longer than 125 bytes, so its second byte is its length.
    while (rest.length >= 2 && rest.length >= 2 + (rest[1] ?? 0)) {
      if (rest[0] === TEXT_FRAME && rest[1] === PAYLOAD.length) this.#echoed();
      else if (rest[0] === PING_FRAME && rest[1] === 0) this.socket.write(PONG);
      else fail(`an unexpected frame ${rest.toString("hex")}`);
      rest = rest.subarray(2 + (rest[1] ?? 0));
    }
    this.#rest = rest;
  }

  #echoed(): void {
    waiting -= 1;
    const now = performance.now();
    const bucket = Math.min(BUCKETS - 1, Math.floor((now - this.#sentAt) * BUCKETS_PER_MS));
    latencies[bucket] = (latencies[bucket] ?? 0) + 1;
    if (now < endAt) {
      echoes += 1;
      this.say(now);
    } else if (waiting === 0) whenDone?.();
  }
}

async function open(port: number, path: string): Promise<Client> {
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  const key = randomBytes(16).toString("base64");
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  let head = "";
  while (!head.includes("\r\n\r\n")) {
    const [bytes] = (await once(socket, "data")) as [Buffer];
    head += bytes.toString("latin1");
  }
  if (!head.startsWith("HTTP/1.1 101") || !head.endsWith("\r\n\r\n")) throw new Error(head);
  return new Client(socket);
}

async function run(clients: readonly Client[], seconds: number): Promise<LoadResult> {
  latencies.fill(0);
  echoes = 0;
  const start = performance.now();
  endAt = start + seconds * 1000;
  const done = new Promise<void>((resolve) => (whenDone = resolve));
  for (const client of clients) client.say(start);
  await done;
  return { count: echoes, perSecond: echoes / seconds, p50Ms: percentileMs(0.5), p99Ms: percentileMs(0.99) };
}

function percentileMs(share: number): number {
  const total = latencies.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let at = 0; at < BUCKETS; at++) {
    seen += latencies[at] ?? 0;
    if (seen >= total * share) return at / BUCKETS_PER_MS;
  }
  return BUCKETS / BUCKETS_PER_MS;
}

function tell(message: FromLoad): void {
  process.send?.(message);
}

function fail(why: string): never {
  tell({ failed: why });
  throw new Error(why);
}

const clients: Client[] = [];

async function openAll(port: number, paths: readonly string[], sockets: number): Promise<void> {
  while (clients.length < sockets) {
    const from = clients.length;
    const batch = Array.from({ length: Math.min(OPENING_MAX, sockets - from) }, (_, at) =>
      open(port, paths[(from + at) % paths.length] ?? "/"),
    );
    clients.push(...(await Promise.all(batch)));
  }
}

/** Connects idle clients, each as soon as one of those under way is there. */
async function connectAll(port: number, paths: readonly string[], sockets: number): Promise<LoadResult> {
  latencies.fill(0);
  const start = performance.now();
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < sockets) {
      const path = paths[next++ % paths.length] ?? "/";
      const from = performance.now();
      clients.push(await open(port, path));
      const bucket = Math.min(BUCKETS - 1, Math.floor((performance.now() - from) * BUCKETS_PER_MS));
      latencies[bucket] = (latencies[bucket] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: CROWD_WIDTH }, one));
  const perSecond = (sockets * 1000) / (performance.now() - start);
  return { count: sockets, perSecond, p50Ms: percentileMs(0.5), p99Ms: percentileMs(0.99) };
}

/** By a reset, or the ports would be spent after three crowds: each stays reserved for a minute after a close in order. */
async function closeAll(): Promise<void> {
  await Promise.all(
    clients.splice(0).map(({ socket }) => {
      socket.removeAllListeners("close");
      const closed = once(socket, "close");
      socket.resetAndDestroy();
      return closed;
    }),
  );
}

process.once("disconnect", () => process.exit(0));
process.on("message", (message: ToLoad) => {
  answer(message).then(tell, (error: unknown) => fail(String(error)));
});

async function answer(message: ToLoad): Promise<FromLoad> {
  switch (message.type) {
    case "run":
      return run(clients, message.seconds);
    case "connect":
      return connectAll(message.port, message.paths, message.sockets);
    case "close":
      await closeAll();
      return "closed";
    case "open":
      await openAll(message.port, message.paths, message.sockets);
      return "open";
  }
}
