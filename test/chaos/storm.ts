// Very many clients that lose their connections at the same moment and are back at the next, as when a balancer in front of the mesh restarts.

import { once } from "node:events";
import { WebSocket } from "ws";
import type { PlacedNode } from "./placed-node.ts";

/** Sessions that the sockets belong to. */
const ROOMS = 100;
/** Opened at once while the storm is prepared; the storm itself opens all at once. */
const CALM_WIDTH = 50;
/** As a client would try again. */
const RETRY_MS = 100;
const BACK_MS = 60_000;

export interface Storm {
  readonly atMs: number;
  /** For each client, how long it was without a connection. Rejects when one is not back in a minute. */
  readonly reconnectedMs: Promise<readonly number[]>;
  end(): Promise<void>;
}

export async function reconnectAtOnce(gateways: readonly PlacedNode[], sockets: number): Promise<Storm> {
  const urls = Array.from({ length: sockets }, (_, at) => {
    const { gateway = "" } = gateways[at % gateways.length] ?? {};
    return `${gateway.replace("http", "ws")}/sessions/echo/room${at % ROOMS}`;
  });
  const first: WebSocket[] = [];
  for (let at = 0; at < urls.length; at += CALM_WIDTH) {
    first.push(...(await Promise.all(urls.slice(at, at + CALM_WIDTH).map((url) => opened(url)))));
  }
  const atMs = performance.now();
  for (const socket of first) socket.terminate();
  const again: WebSocket[] = [];
  const reconnectedMs = Promise.all(
    urls.map(async (url) => {
      for (;;) {
        try {
          again.push(await opened(url));
          return performance.now() - atMs;
        } catch (error) {
          if (performance.now() - atMs > BACK_MS) throw error;
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
      }
    }),
  );
  return {
    atMs,
    reconnectedMs,
    end: async () => {
      await reconnectedMs;
      for (const socket of again) socket.terminate();
    },
  };
}

async function opened(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const failed = new Promise<never>((_, reject) => socket.on("error", reject));
  failed.catch(() => {}); // After it was open, `close` is what ends it.
  await Promise.race([once(socket, "open"), failed]);
  return socket;
}
