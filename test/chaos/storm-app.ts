// The clients of a storm, as the child process of storm.ts: opens its sockets calmly, and opens them again without any pause when they
// break. Ends with its parent.

import { once } from "node:events";
import { WebSocket } from "ws";
import type { StormOrder } from "./storm.ts";

/** Sessions that the sockets belong to. */
const ROOMS = 100;
/** Opened at once while the storm is prepared; the storm itself opens all at once. */
const CALM_WIDTH = 50;
/** As a client in a hurry would try again. */
const RETRY_MS = 100;
const BACK_MS = 60_000;

process.once("disconnect", () => process.exit(0));
// Written by our own parent, of the same code.
const { before, after, sockets } = JSON.parse(process.argv[2] ?? "") as StormOrder;
const urlOf = (bases: readonly string[], at: number): string =>
  `${bases[at % bases.length]}/sessions/echo/room${at % ROOMS}`;

try {
  const first: WebSocket[] = [];
  while (first.length < sockets) {
    const width = Math.min(CALM_WIDTH, sockets - first.length);
    first.push(
      ...(await Promise.all(Array.from({ length: width }, (_, at) => opened(urlOf(before, first.length + at))))),
    );
  }
  process.once("message", () => first.forEach((socket) => socket.terminate()));
  const back = Promise.all(first.map(async (socket, at) => backAgain(socket, urlOf(after, at))));
  tell("opened");
  tell("back", await back);
} catch (error) {
  tell("failed", String(error));
}

/** How long the client was without a connection. */
async function backAgain(socket: WebSocket, url: string): Promise<number> {
  await once(socket, "close");
  const lostMs = performance.now();
  for (;;) {
    try {
      await opened(url);
      return Math.round(performance.now() - lostMs);
    } catch (error) {
      if (performance.now() - lostMs > BACK_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function opened(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const failed = new Promise<never>((_, reject) => socket.on("error", reject));
  failed.catch(() => {}); // After it was open, `close` is what ends it.
  await Promise.race([once(socket, "open"), failed]);
  return socket;
}

function tell(type: string, value?: unknown): void {
  process.send?.({ type, value });
}
