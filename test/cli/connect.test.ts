// What `mesh connect` says of a server that opens no WebSocket, and that it takes the address as a browser shows it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { WebSocketServer } from "ws";

const MESH = path.join(import.meta.dirname, "..", "..", "cli", "mesh.ts");
let server: http.Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** Its address without the protocol. */
async function serve(answer: http.RequestListener): Promise<string> {
  server = http.createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

async function connect(url: string, input = "") {
  const child = spawn(process.execPath, [MESH, "connect", url], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(input);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { out, err, code: Number(code) };
}

test("a refusal is told with its status and the detail of the problem", async () => {
  const host = await serve((_request, response) => {
    response.writeHead(404, { "content-type": "application/problem+json" });
    response.end(JSON.stringify({ title: "no such kind", detail: 'no kind "chat"' }));
  });
  expect(await connect(`http://${host}/sessions/chat/lobby`)).toEqual({
    code: 1,
    out: "",
    err: `error: ws://${host}/sessions/chat/lobby does not open: HTTP 404 Not Found: no kind "chat"\n`,
  });
});

test("a body of another kind is told as it is, and one that does not end is cut", async () => {
  const host = await serve((_request, response) => response.write("data: 1\n\n"));
  const { code, err } = await connect(`ws://${host}/`);
  expect(err).toBe(`error: ws://${host}/ does not open: HTTP 200 OK: data: 1\n`);
  expect(code).toBe(1);
});

test("where nobody listens it says so", async () => {
  expect(await connect("ws://127.0.0.1:1/")).toMatchObject({
    code: 1,
    err: "error: ws://127.0.0.1:1/ does not open: nobody listens there\n",
  });
});

test("http:// opens the WebSocket at that address, and lines go both ways", async () => {
  const host = await serve((_request, response) => response.end());
  new WebSocketServer({ ...(server && { server }) }).on("connection", (socket) => {
    socket.on("message", (data: Buffer) => socket.send(data.toString().toUpperCase()));
  });
  expect(await connect(`http://${host}/#part`, "hello\n")).toEqual({
    code: 0,
    out: "HELLO\n",
    err: `connected to ws://${host}/; Ctrl-C ends\n`,
  });
});
