// Ports of this machine: is one free, which one is free, does something answer at an address. Loopback and TCP only.

import { once } from "node:events";
import net from "node:net";

/** A guess that ages: somebody else may take the port before its use. */
export async function isPortFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return (await tryListen(port, host)) !== undefined;
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const port = await tryListen(0, "127.0.0.1");
  if (port === undefined) throw new Error("the machine has no free port on 127.0.0.1");
  return port;
}

/** True when a TCP connection to the address opens in time. */
export async function answers(host: string, port: number, timeoutMs: number): Promise<boolean> {
  const socket = net.connect({ host, port });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(timeoutMs) });
    return true;
  } catch {
    // Refused, unknown or silent: for the caller it is one answer.
    return false;
  } finally {
    socket.destroy();
  }
}

/** Whether several processes may listen at one port, the kernel spreading the connections over them. */
export async function canSharePorts(): Promise<boolean> {
  return (await tryListen(0, "127.0.0.1", true)) !== undefined;
}

async function tryListen(port: number, host: string, reusePort = false): Promise<number | undefined> {
  const server = net.createServer();
  try {
    server.listen({ port, host, exclusive: true, reusePort });
    await once(server, "listening");
  } catch {
    return undefined;
  }
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : undefined;
}
