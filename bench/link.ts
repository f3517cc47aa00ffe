// What a hop costs: calls a second over one link between two processes, and the CPU of both ends for each call. The control is a bare
// grpc-js stream that echoes the same bytes, as many calls in one message as are under way: the floor under any link over gRPC.
//
//   node bench/link.ts [seconds]

import { fork } from "node:child_process";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Server, ServerCredentials, credentials } from "@grpc/grpc-js";
import { SessionCall, createLinks, listenLinks, type LinkService } from "#mesh";
import { encodeBatch, parseSessionKey, workerIdOf, type Frame, type Member } from "#proto";

const CONCURRENCIES = (process.env["BENCH_CONCURRENCY"] ?? "1,8,32,64,128").split(",").map(Number);
const CONTROL_PATH = "/bench.Control/Echo";
const HEADERS = [
  "host",
  "localhost:8080",
  "accept",
  "*/*",
  "user-agent",
  "bench/1.0",
  "cookie",
  "visitor=0123456789abcdef",
];
const REPLY_HEADERS = ["content-type", "application/json"];
const REPLY_BODY = JSON.stringify({ count: 123_456 });
const URL_OF_CALL = "http://localhost:8080/sessions/counter/alice/increment?by=1";

const asker = workerIdOf("a", { index: 0, incarnation: "bench" });
const host = workerIdOf("b", { index: 0, incarnation: "bench" });

if (process.send === undefined) await measure(Number(process.argv[2] ?? 2));
else await serve();

interface Addresses {
  readonly port: number;
  readonly socket: string;
  readonly control: string;
}

async function serve(): Promise<void> {
  const service: LinkService = {
    admit: () => Promise.resolve(true),
    call: () => ({
      status: "reply",
      reply: { status: 200, statusText: "OK", headers: REPLY_HEADERS, body: REPLY_BODY },
    }),
    connect: () => ({ status: "moved", worker: undefined, epoch: 1 }),
    ask: () => ({ ok: true, sessions: [], more: false }),
  };
  const socketPath = path.join(tmpdir(), `bench-link-${process.pid}.sock`);
  const listener = await listenLinks({
    self: host,
    mesh: "bench",
    bind: "127.0.0.1",
    socketPath,
    service,
    epoch: () => 1,
  });

  const control = new Server({ "grpc.enable_channelz": 0 });
  const pass = (bytes: Buffer) => bytes;
  const replyBytes = encodeBatch([replyFrame(1)]).length;
  control.addService(
    {
      echo: {
        path: CONTROL_PATH,
        requestStream: true,
        responseStream: true,
        requestSerialize: pass,
        requestDeserialize: pass,
        responseSerialize: pass,
        responseDeserialize: pass,
      },
    },
    {
      echo: (call: { on(event: string, listener: (bytes: Buffer) => void): void; write(bytes: Buffer): void }) => {
        call.on("data", (bytes) => call.write(Buffer.alloc(Math.round(bytes.length / openBytes()) * replyBytes)));
      },
    },
  );
  const controlPath = path.join(tmpdir(), `bench-control-${process.pid}.sock`);
  await new Promise<void>((resolve, reject) => {
    control.bindAsync(`unix:${controlPath}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  process.send?.({ port: listener.port, socket: listener.socket, control: `unix:${controlPath}` } satisfies Addresses);
  process.on("message", (message) => {
    if (message === "stop") {
      control.forceShutdown();
      void listener.close().then(() => process.disconnect?.());
    } else process.send?.(process.cpuUsage());
  });
}

async function measure(seconds: number): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), { execArgv: process.execArgv });
  const next = <T>() => new Promise<T>((resolve) => child.once("message", (message) => resolve(message as T)));
  const addresses = await next<Addresses>();
  const cpuOfBoth = async () => {
    child.send("cpu");
    const theirs = await next<NodeJS.CpuUsage>();
    const ours = process.cpuUsage();
    return ours.user + ours.system + theirs.user + theirs.system;
  };
  const run = async (
    what: string,
    concurrency: number,
    perRound: number,
    workers: number,
    round: () => Promise<unknown>,
  ) => {
    let calls = 0;
    const lap = async (ms: number) => {
      const end = performance.now() + ms;
      const loop = async () => {
        while (performance.now() < end) {
          await round();
          calls += perRound;
        }
      };
      await Promise.all(Array.from({ length: workers }, loop));
    };
    await lap(500);
    calls = 0;
    const [cpu, start] = [await cpuOfBoth(), performance.now()];
    await lap(seconds * 1000);
    const took = performance.now() - start;
    const used = (await cpuOfBoth()) - cpu;
    const row = {
      what,
      concurrency,
      "calls/s": Math.round((calls / took) * 1000),
      "CPU us/call": Number((used / calls).toFixed(1)),
    };
    console.log(JSON.stringify(row));
    return used / calls;
  };

  const links = createLinks({ self: asker, mesh: "bench", machine: "here", epoch: () => 1 });
  const member = memberAt(addresses);
  const id = parseSessionKey("counter/alice");
  const control = new Client(addresses.control, credentials.createInsecure(), {
    "grpc.enable_channelz": 0,
    "grpc.enable_retries": 0,
  });
  const pass = (bytes: Buffer) => bytes;
  const echo = control.makeBidiStreamRequest<Buffer, Buffer>(CONTROL_PATH, pass, pass);
  echo.on("error", () => {});
  for (const concurrency of CONCURRENCIES) {
    const message = Buffer.alloc(concurrency * openBytes());
    const floor = await run("bare gRPC", concurrency, concurrency, 1, async () => {
      echo.write(message);
      await new Promise((resolve) => echo.once("data", resolve));
    });
    const link = await run("link", concurrency, 1, concurrency, async () => {
      const outcome = await links.call(
        member,
        new SessionCall({ id, method: "GET", url: URL_OF_CALL, headers: HEADERS, timeoutMs: 30_000 }),
        {
          epoch: 1,
          stale: undefined,
        },
      );
      if (outcome.status !== "reply") throw new Error(outcome.status);
    });
    console.log(
      JSON.stringify({ what: "link beyond bare gRPC", concurrency, "CPU us/call": Number((link - floor).toFixed(1)) }),
    );
  }
  await links.close();
  echo.cancel();
  control.close();
  child.send("stop");
}

function openBytes(): number {
  const open: Frame = {
    stream: 1,
    type: "open",
    open: {
      epoch: 1,
      key: "counter/alice",
      method: "GET",
      url: URL_OF_CALL,
      headers: HEADERS,
      upgrade: false,
      onlyIfActive: false,
      timeoutMs: 30_000,
      body: new Uint8Array(0),
      streamed: false,
      stale: "",
      ip: "",
      claims: new Uint8Array(0),
      protocol: "",
    },
  };
  return encodeBatch([open]).length;
}

function replyFrame(stream: number): Frame {
  return {
    stream,
    type: "head",
    head: { status: 200, statusText: "OK", headers: REPLY_HEADERS, body: Buffer.from(REPLY_BODY), streamed: false },
  };
}

function memberAt(addresses: Addresses): Member {
  const worker = {
    index: 0,
    incarnation: "bench",
    address: { host: "127.0.0.1", port: addresses.port, socket: addresses.socket, lifeline: 0 },
  };
  return {
    id: host,
    slot: "b/0",
    worker,
    node: {
      id: "b",
      incarnation: "bench",
      role: "host",
      state: "up",
      machine: "here",
      zone: "",
      labels: {},
      gateway: "",
      admin: "",
      lifeline: { host: "127.0.0.1", port: 0 },
      pid: 0,
      workers: [worker],
    },
  };
}
