// The floor under "a session answers a request": bare node:http and a Map from path to a counter. Prints its port, ends with its parent.

import http from "node:http";
import type { AddressInfo } from "node:net";
import { MEMORY_PATH, memoryInUse } from "../memory.ts";

const counters = new Map<string, { count: number }>();

const server = http.createServer((request, response) => {
  const path = request.url ?? "/";
  const body = path === MEMORY_PATH ? JSON.stringify(memoryInUse(counters.size)) : count(path);
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
});

function count(path: string): string {
  let counter = counters.get(path);
  if (counter === undefined) {
    counter = { count: 0 };
    counters.set(path, counter);
  }
  counter.count += 1;
  return JSON.stringify({ count: counter.count, node: "control" });
}

process.once("disconnect", () => process.exit(0));
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
