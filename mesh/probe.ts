// One plain TCP connection to see whether anything listens at an address. Sends nothing. Never rejects.

import net from "node:net";

/** The kernel of a living machine answers within a round trip; longer than this is no answer. */
const PROBE_MS = 300;

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** `refused`: the machine lives and nothing listens there. `unknown`: no answer, no route, no such name. */
export type ProbeResult = "open" | "refused" | "unknown";

export function probe({ host, port }: TcpAddress): Promise<ProbeResult> {
  if (port === 0) return Promise.resolve("unknown");
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const done = (result: ProbeResult): void => {
      clearTimeout(limit);
      socket.destroy();
      resolve(result);
    };
    const limit = setTimeout(() => done("unknown"), PROBE_MS);
    socket.once("connect", () => done("open"));
    // Stays for good: errors may follow the first.
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code === "ECONNREFUSED" ? "refused" : "unknown"));
  });
}
