// Very many clients that lose their connections at the same moment and want them back at the next, as when a node dies or a balancer in
// front of the mesh restarts. They are a process of their own (storm-app.ts), so that they do not hold up the clients whose requests are
// measured beside them.

import { fork } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import path from "node:path";
import { integer, list, record } from "#proto";
import type { PlacedNode } from "./placed-node.ts";

const APP = path.join(import.meta.dirname, "storm-app.ts");
/** Ten thousand sockets that are opened a few at a time, on a machine that is busy. */
const CALM_MS = 120_000;

/** What the process is told. */
export interface StormOrder {
  /** Base URLs, as `ws://host:port`. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly sockets: number;
}

export interface Storm {
  /** For each client, how long it was without a connection. Rejects when one is not back in a minute. */
  readonly reconnectedMs: Promise<readonly number[]>;
  /** Breaks all connections, unless something else does. */
  drop(): void;
  end(): Promise<void>;
}

/** Resolves when all are connected through the first gateways. They come back through the others. */
export async function openStorm(
  before: readonly PlacedNode[],
  after: readonly PlacedNode[],
  sockets: number,
): Promise<Storm> {
  const urls = (nodes: readonly PlacedNode[]): string[] => nodes.map(({ gateway }) => gateway.replace("http", "ws"));
  const order: StormOrder = { before: urls(before), after: urls(after), sockets };
  const child = fork(APP, [JSON.stringify(order)]);
  // They would be on machines of their own: the mesh and those who measure it come first.
  os.setPriority(child.pid ?? 0, os.constants.priority.PRIORITY_LOW);
  const killOnExit = (): boolean => child.kill("SIGKILL");
  process.once("exit", killOnExit);
  const exited = once(child, "exit");
  const opened = Promise.withResolvers<void>();
  const back = Promise.withResolvers<readonly number[]>();
  const fail = (why: string): void => {
    opened.reject(new Error(why));
    back.reject(new Error(why));
  };
  back.promise.catch(() => {}); // Whoever ends the storm hears of it.
  const limit = setTimeout(() => fail("the clients of the storm could not connect in time"), CALM_MS);
  child.on("message", (message) => {
    const { type, value } = record(message, "message");
    if (type === "opened") opened.resolve();
    if (type === "back") back.resolve(list(value, "value").map((ms) => integer(ms, "ms")));
    if (type === "failed") fail(String(value));
  });
  child.once("exit", (code) => fail(`the clients of the storm ended with ${code}`));
  const end = async (): Promise<void> => {
    process.removeListener("exit", killOnExit);
    child.kill("SIGKILL");
    await exited;
  };
  try {
    await opened.promise;
  } catch (error) {
    await end();
    throw error;
  } finally {
    clearTimeout(limit);
  }
  return {
    reconnectedMs: back.promise,
    drop: () => child.send("drop"),
    async end() {
      try {
        await back.promise;
      } finally {
        await end();
      }
    },
  };
}
