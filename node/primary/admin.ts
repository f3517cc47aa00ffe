// The node's admin port: its health and state, for orchestrators and operators. Loopback by default; it has no password.

import http from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { MeshError } from "#proto";

export interface NodeStatus {
  readonly mesh: string;
  readonly node: string;
  /** In the mesh, with its lease, and not on its way out. */
  readonly ready: boolean;
  readonly suspended: boolean;
  readonly stopping: boolean;
  readonly epoch: number;
  /** Nodes in the view. */
  readonly nodes: number;
  readonly workers: readonly { readonly index: number; readonly pid: number; readonly settled: boolean }[];
}

export class AdminServer {
  readonly #server: http.Server;
  #port = 0;

  constructor(status: () => NodeStatus) {
    this.#server = http.createServer((request, response) => {
      const path = request.url?.split("?", 1)[0] ?? "/";
      const known = path === "/_mesh/health" || path === "/_mesh/status" || path === "/";
      if (request.method !== "GET" && request.method !== "HEAD") return reply(response, 405, { allow: "GET, HEAD" });
      if (!known) return reply(response, 404, { paths: ["/_mesh/health", "/_mesh/status"] });
      const now = status();
      reply(response, path === "/_mesh/health" && !now.ready ? 503 : 200, now);
    });
  }

  /** The bound port, once it listens. */
  get port(): number {
    return this.#port;
  }

  async listen(port: number, bind: string): Promise<void> {
    this.#server.listen({ port, host: bind });
    try {
      await once(this.#server, "listening");
    } catch (cause) {
      const taken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
      throw new MeshError(
        "bad_config",
        taken
          ? `the admin port ${port} is taken: end what uses it, or set MESH_ADMIN_PORT (mesh dev and mesh up: --admin-port) to another`
          : `cannot listen on the admin port ${bind}:${port}: ${MeshError.from(cause).message}`,
        { cause },
      );
    }
    // A TCP server that listens has an address of this kind; the type also covers pipes.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

function reply(response: http.ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(`${JSON.stringify(body)}\n`);
}
