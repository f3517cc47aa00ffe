// A WebSocket client for tests: what it received is a list, what it waits for is a promise with a deadline.

import { once } from "node:events";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";

export interface SocketClient {
  readonly socket: WebSocket;
  /** In order of arrival: text as string, binary as Buffer. */
  readonly received: (string | Buffer)[];
  /** How the connection ended. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  isOpen(): boolean;
  /** Resolves when so many messages have arrived in all. */
  has(messages: number): Promise<void>;
}

/** Loopback, but on a machine that has other work. */
const ARRIVAL_MS = 20_000;

/** Resolves when the handshake is answered; rejects when it is refused. The connection ends with the running test. */
export async function openSocket(gateway: string, session: string): Promise<SocketClient> {
  const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/${session}`);
  onTestFinished(() => socket.terminate());
  const received: (string | Buffer)[] = [];
  socket.on("message", (data: Buffer, isBinary: boolean) => received.push(isBinary ? data : data.toString()));
  // `close` follows every error; it is what tests look at.
  socket.on("error", () => {});
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() })),
  );
  await once(socket, "open");
  return {
    socket,
    received,
    closed,
    isOpen: () => socket.readyState === WebSocket.OPEN,
    has: async (messages) => void (await eventually(() => received.length >= messages, ARRIVAL_MS)),
  };
}
