// An application that lets in who says a name, and whose sessions tell what they know of their clients: of all isolations.

import { defineMesh, SessionServer, type Caller, type SessionSocket } from "sessionmesh";

class Desk extends SessionServer {
  override async fetch(request: Request, caller: Caller): Promise<Response> {
    await new Promise(setImmediate);
    const { node } = this.ctx;
    const { pathname, protocol } = new URL(request.url);
    return Response.json({ node, pathname, protocol, ip: caller.ip, user: this.ctx.claims?.["user"] });
  }
  override onConnect(socket: SessionSocket): void {
    socket.send(`${String(socket.claims?.["user"])} ${socket.ip} ${socket.protocol}`);
  }
  override onMessage(socket: SessionSocket): void {
    socket.send(String(this.ctx.claims?.["user"]));
  }
}

class ThreadDesk extends Desk {
  static readonly options = { isolation: "thread" } as const;
  static readonly protocols = ["v2"];
}

class OpenDesk extends Desk {
  static readonly protocols = ["v2"];
  static onBeforeRequest(request: Request): undefined {
    const why = new URL(request.url).searchParams.get("stray");
    if (why === "throw") setImmediate(() => throwLate());
    if (why === "reject") void Promise.reject(new Error("a stray rejection of a hook"));
  }
}

function throwLate(): never {
  throw new Error("a stray error of a hook");
}

export default defineMesh({
  sessions: { desk: OpenDesk, thread: ThreadDesk },
  authorize({ name, request }) {
    const user = request.headers.get("x-user");
    if (user === null || name === "secret") return new Response("who are you?", { status: 401 });
    return { user };
  },
});
