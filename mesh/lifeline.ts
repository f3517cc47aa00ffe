// The lifeline of a process: a port that it holds open for as long as it lives, and a connection to it that each other primary holds.
// One byte says that the process has taken the connection; nothing else is ever sent. When the process ends, however it ends, its kernel
// closes the connection with a FIN. A network that breaks, a firewall that begins to refuse, a machine that loses power and a process that
// is stopped send none.
//
// The byte is there because a living process may close a connection that it never took: one too many, or one for which no descriptor was left.

import net from "node:net";
import { MeshError } from "#proto";
import type { TcpAddress } from "./probe.ts";

/** One for each other node; more are not ours. */
const CONNECTIONS_MAX = 10_000;
/** Before a connection that could not be made, or broke without a FIN, is tried again. */
const RETRY_MS = 1_000;
/** Finds connections that a network between has forgotten, so that they are made anew. */
const KEEP_ALIVE_MS = 30_000;
const TAKEN = Buffer.of(1);

export interface LifelineServer {
  readonly port: number;
  /** Tells all who follow that this process is gone: only when nothing of it acts any more. */
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
    connection.write(TAKEN);
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

/** Calls `onEnd` once when a process that had taken our connection has closed it. Returns a stop. */
export function followLifeline({ host, port }: TcpAddress, onEnd: () => void): () => void {
  let socket: net.Socket | undefined;
  let retry: NodeJS.Timeout | undefined;
  let over = port === 0;
  const follow = (): void => {
    let taken = false;
    let ended = false;
    const connection = net.connect({ host, port, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
    socket = connection;
    connection.on("data", () => (taken = true));
    connection.on("end", () => (ended = true));
    // Whatever broke it: `close` follows.
    connection.on("error", () => {});
    connection.once("close", () => {
      if (over) return;
      if (taken && ended) {
        over = true;
        onEnd();
      } else {
        retry = setTimeout(follow, RETRY_MS);
      }
    });
  };
  if (!over) follow();
  return () => {
    over = true;
    clearTimeout(retry);
    socket?.destroy();
  };
}
