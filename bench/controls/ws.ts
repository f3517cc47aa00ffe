// The floor under "a session echoes a message": the bare `ws` package. Prints its port, ends with its parent.

import http from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { memoryInUse } from "../memory.ts";

// Only GET /sessions/memory/here is asked for.
const server = http.createServer((_, response) => response.end(JSON.stringify(memoryInUse(0))));

new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (socket) => {
  socket.on("message", (message, binary) => socket.send(message, { binary }));
});

process.once("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
