// Taking a port, with errors that say what to do. In a `node:cluster` worker the primary holds the port and shares it; `shared`
// ones are the worker's own, and the kernel spreads the connections over all who listen there.

import type { Server } from "node:net";
import { MeshError, messageOf } from "#proto";

/**
 * Connections that the kernel keeps until we take them; its own limit, usually as many, may be smaller. When a node dies all its clients come at
 * once, and whom the queue has no room for tries again after 1, 3 and 7 s.
 */
const BACKLOG = 4_096;

export function listenOn(
  server: Server,
  { port, bind, shared = false }: { readonly port: number; readonly bind: string; readonly shared?: boolean },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException): void => reject(refusal(error, port, bind));
    server.once("error", refuse);
    server.listen({ port, host: bind, backlog: BACKLOG, ...(shared && { reusePort: true }) }, () => {
      server.off("error", refuse);
      const address = server.address();
      if (address === null || typeof address === "string") {
        reject(new MeshError("internal", "the gateway listens, but at no port"));
      } else {
        resolve(address.port);
      }
    });
  });
}

function refusal(error: NodeJS.ErrnoException, port: number, bind: string): MeshError {
  const bad = (message: string): MeshError => new MeshError("bad_config", message, { cause: error });
  const option = "MESH_PORT (mesh dev and mesh up: --port)";
  switch (error.code) {
    case "EADDRINUSE":
      return bad(`port ${port} is taken: stop the program that has it, or choose another with ${option}`);
    case "EACCES":
      return bad(`port ${port} may not be used by this user: choose one above 1023 with ${option}`);
    case "EADDRNOTAVAIL":
      return bad(`this machine has no address ${bind}: set MESH_BIND to one that it has, or to 0.0.0.0`);
    default:
      return bad(`cannot listen at ${bind}:${port}: ${messageOf(error)}`);
  }
}
