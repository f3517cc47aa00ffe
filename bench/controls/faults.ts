// The floor under "a session goes wrong alone": the same session classes in a plain server of node:http and ws, each an object in a Map. What
// handlers throw is answered with 500, as frameworks do; the rest is up to Node. Its parent watches it and starts it again, see
// faults/control.ts. Takes its port as parameter, ends with its parent.

import http from "node:http";
import type { SessionContext, SessionServer, SessionSocket } from "sessionmesh";
import { WebSocketServer } from "ws";
import { Faulty } from "../../examples/faults/app.ts";
import { Neighbour } from "../../examples/faults/neighbour.ts";

const sessions = new Map<string, SessionServer>();

/** Of a path such as /sessions/neighbour/bob/wait. */
function sessionOf(path: string): SessionServer {
  const [, , kind = "", name = ""] = path.split("/");
  const key = `${kind}/${name}`;
  let session = sessions.get(key);
  if (session === undefined) {
    session = new (kind === "neighbour" ? Neighbour : Faulty)(contextOf(kind, name));
    sessions.set(key, session);
    void session.onStart?.();
  }
  return session;
}

/** As much of it as these classes use. */
function contextOf(kind: string, name: string): SessionContext {
  const session = (_: unknown, other: string) => ({
    fetch: (path: string) => answer(`/sessions/neighbour/${other}${path}`),
  });
  return { id: { kind, name }, mesh: { session } } as unknown as SessionContext;
}

const NOBODY = { ip: undefined, claims: undefined };

async function answer(path: string): Promise<Response> {
  const response = await sessionOf(path).fetch?.(new Request(`http://control${path}`), NOBODY);
  return response ?? new Response(null, { status: 404 });
}

const server = http.createServer((request, response) => void respond(request.url ?? "/", response));

async function respond(path: string, response: http.ServerResponse): Promise<void> {
  if (path === "/alive") return void response.end();
  try {
    const { status, headers, body } = await answer(path);
    response.writeHead(status, Object.fromEntries(headers));
    // Bodies are small here, so nothing waits for slow clients.
    for await (const chunk of body ?? []) response.write(chunk);
    response.end();
  } catch {
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end();
  }
}

new WebSocketServer({ server, perMessageDeflate: false }).on("connection", (socket, request) => {
  const session = sessionOf(request.url ?? "/");
  const asSeen = { send: (message: string) => socket.send(message) } as SessionSocket;
  socket.on("message", (message) => void session.onMessage?.(asSeen, String(message)));
});

process.once("disconnect", () => process.exit(0));
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log(JSON.stringify({ ready: true })));
