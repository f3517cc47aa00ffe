// The lifeline of a node: a port that its primary holds open for as long as its process lives, and a connection to it that each other
// primary holds. Nothing is ever sent. When the process ends, however it ends, its kernel closes the connection with a FIN. A
// network that breaks, a firewall that begins to refuse, a machine that loses power and a process that is stopped send none.

import net from "node:net";
import { MeshError } from "#proto";
import type { TcpAddress } from "./probe.ts";

/** One for each other node; more are not ours. */
const CONNECTIONS_MAX = 10_000;
/** Before a connection that could not be made, or broke without a FIN, is tried again. */
const RETRY_MS = 1_000;
/** Finds connections that a network between has forgotten, so that they are made anew. */
const KEEP_ALIVE_MS = 30_000;

export interface LifelineServer {
  readonly port: number;
  /** Tells all who follow that this node is gone: only when its workers are. */
  close(): Promise<void>;
}

/** Throws `bad_config` when the address cannot be bound. */
export async function serveLifeline(bind: string): Promise<LifelineServer> {
  const connections = new Set<net.Socket>();
  const server = net.createServer({ keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (connection) => {
    connections.add(connection);
    connection.once("close", () => connections.delete(connection));
    connection.on("error", () => connection.destroy());
    connection.resume();
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new MeshError("bad_config", `cannot listen for the other nodes on ${bind}`, { cause })),
    );
    server.listen({ host: bind, port: 0, exclusive: true }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections) connection.destroy();
      }),
  };
}

/** Calls `onEnd` once when a process that we were connected to has closed the connection. Returns a stop. */
export function followLifeline({ host, port }: TcpAddress, onEnd: () => void): () => void {
  let socket: net.Socket | undefined;
  let retry: NodeJS.Timeout | undefined;
  let over = port === 0;
  const follow = (): void => {
    let ended = false;
    const connection = net.connect({ host, port, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    socket = connection;
    connection.on("end", () => (ended = true));
    // Whatever broke it: `close` follows.
    connection.on("error", () => {});
    connection.once("close", () => {
      if (over) return;
      if (ended) {
        over = true;
        onEnd();
      } else {
        retry = setTimeout(follow, RETRY_MS);
      }
    });
    connection.resume();
  };
  if (!over) follow();
  return () => {
    over = true;
    clearTimeout(retry);
    socket?.destroy();
  };
}
