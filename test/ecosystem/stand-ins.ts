// What stands in for the outside while packages are used: an HTTP server that echoes and streams like a model, a Socket.IO and a
// WebSocket server beside it, a real Redis and a real PostgreSQL where the machine has them. Loopback only.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { WebSocketServer } from "ws";
import { eventually } from "../cluster/eventually.ts";

export interface StandIns extends AsyncDisposable {
  /** For the nodes: where everything is. */
  readonly env: Readonly<Record<string, string>>;
  /** What the machine has. */
  readonly has: ReadonlySet<string>;
}

/** A database that starts on a busy machine. */
const READY_MS = 30_000;

/** Rejects when one of them does not start. */
export async function startStandIns(): Promise<StandIns> {
  const undo: (() => unknown)[] = [];
  const has = new Set<string>();
  const env: Record<string, string> = {};
  const folder = mkdtempSync(path.join(os.tmpdir(), "ecosystem-"));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));

  const http = createServer(answer).listen(0, "127.0.0.1");
  await once(http, "listening");
  undo.push(() => http.closeAllConnections());
  env["MESH_ECOSYSTEM_HTTP"] = `http://127.0.0.1:${portOf(http.address())}`;
  // A dependency of this folder: the compiler, which has only those of the repository, is not to look for it.
  const socketIo: string = "socket.io";
  const { Server } = (await import(socketIo)) as { Server: new (http: object) => SocketServer };
  const io = new Server(http);
  io.on("connection", (socket) => socket.on("hello", (name, answered) => answered(`hello ${name}`)));
  undo.push(() => io.close());

  const echo = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(echo, "listening");
  echo.on("connection", (socket) => socket.on("message", (data, binary) => socket.send(data, { binary })));
  undo.push(() => echo.close());
  env["MESH_ECOSYSTEM_WS"] = `ws://127.0.0.1:${portOf(echo.address())}`;

  if (isInstalled("redis-server")) {
    const port = await freePort();
    const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder];
    undo.push(await started("redis-server", options, "Ready to accept connections"));
    env["MESH_ECOSYSTEM_REDIS"] = `redis://127.0.0.1:${port}`;
    has.add("redis");
  }
  if (isInstalled("postgres") && isInstalled("initdb")) {
    const port = await freePort();
    const data = path.join(folder, "postgres");
    // It refuses to run as root.
    const as = process.getuid?.() === 0 ? userOf("postgres") : {};
    if (as !== undefined) {
      if ("uid" in as) execFileSync("chown", [String(as.uid), folder]);
      const init = ["-D", data, "-U", "mesh", "--auth=trust", "--no-sync", "--locale=C"];
      execFileSync("initdb", init, { ...as, cwd: folder, stdio: "ignore" });
      const options = ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, "-F"];
      undo.push(await started("postgres", options, "ready to accept connections", as));
      env["MESH_ECOSYSTEM_POSTGRES"] = `postgres://mesh@127.0.0.1:${port}/postgres`;
      has.add("postgres");
    }
  }
  return {
    env,
    has,
    async [Symbol.asyncDispose]() {
      for (const step of undo.toReversed()) await step();
    },
  };
}

interface SocketServer {
  on(event: "connection", heard: (socket: ClientOfIo) => void): void;
  close(): Promise<void>;
}
interface ClientOfIo {
  on(event: string, heard: (name: string, answered: (text: string) => void) => void): void;
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  if (request.url === "/echo") {
    response.setHeader("content-type", request.headers["content-type"] ?? "text/plain");
    request.pipe(response);
    return;
  }
  if (request.url !== "/v1/chat/completions") {
    response.writeHead(404).end();
    return;
  }
  request.resume();
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const content of ["Hello", ", ", "world"]) {
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
  }
  response.end("data: [DONE]\n\n");
}

/** Resolves with how to end it. */
async function started(command: string, options: string[], line: string, as = {}): Promise<() => Promise<void>> {
  const child: ChildProcess = spawn(command, options, { ...as, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data: Buffer) => (output += data.toString()));
  await eventually(() => output.includes(line), READY_MS);
  return async () => {
    const ended = once(child, "exit");
    child.kill("SIGINT");
    await ended;
  };
}

function isInstalled(command: string): boolean {
  try {
    execFileSync(command, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function userOf(name: string): { uid: number; gid: number } | undefined {
  try {
    const id = (flag: string): number => Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: "pipe" }));
    return { uid: id("-u"), gid: id("-g") };
  } catch {
    return undefined;
  }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server.address());
  server.close();
  await once(server, "close");
  return port;
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return address.port;
}
