// Ports of this machine: is one free, which one is free, does something answer at an address. Loopback and TCP only.

import { once } from "node:events";
import net from "node:net";

/** A guess that ages: somebody else may take the port before its use. */
export async function isPortFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return (await portFault(port, host)) === undefined;
}

/** Why the port cannot be used, to follow "port 80 "; undefined when it can. Ages as `isPortFree`. */
export async function portFault(port: number, host = "127.0.0.1"): Promise<string | undefined> {
  const found = await tryListen(port, host);
  if (typeof found === "number") return undefined;
  return found === "EACCES" ? "may not be used by this user" : "is taken";
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const port = await tryListen(0, "127.0.0.1");
  if (typeof port === "string") throw new Error(`the machine has no free port on 127.0.0.1: ${port}`);
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
  return typeof (await tryListen(0, "127.0.0.1", true)) === "number";
}

/** The port, or the code of the error. */
async function tryListen(port: number, host: string, reusePort = false): Promise<number | string> {
  const server = net.createServer();
  try {
    server.listen({ port, host, exclusive: true, reusePort });
    await once(server, "listening");
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "unknown";
  }
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : "unknown";
}
