// Every name is a counter of its own: /sessions/counter/alice, /sessions/counter/bob, as many as there are names.

import { readFileSync } from "node:fs";
import { defineMesh, SessionServer, type SessionSocket } from "sessionmesh";

const page = readFileSync(new URL("./page.html", import.meta.url), "utf8");

class Counter extends SessionServer {
  count = 0;

  /** GET tells the count, POST counts. */
  override fetch(request: Request): Response {
    if (request.method === "POST") this.increment();
    return Response.json(this.state());
  }

  override onConnect(socket: SessionSocket): void {
    socket.send(JSON.stringify(this.state()));
  }

  override onMessage(_socket: SessionSocket, message: string | Uint8Array): void {
    if (message === "+1") this.increment();
  }

  private increment(): void {
    this.count += 1;
    this.broadcast(JSON.stringify(this.state()));
  }

  private state(): { name: string; count: number; node: string } {
    return { name: this.ctx.id.name, count: this.count, node: this.ctx.node };
  }
}

export default defineMesh({
  sessions: { counter: Counter },
  fetch(request, mesh) {
    if (new URL(request.url).pathname !== "/") return mesh.route(request);
    return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
  },
});
