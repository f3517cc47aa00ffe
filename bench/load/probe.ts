// Asks a server once for each path, a few at a time: creates the sessions of a measurement, and tells where they live.

import http from "node:http";
import { json } from "node:stream/consumers";

const CONNECTIONS = 32;

export async function getJson(port: number, path: string, agent?: http.Agent): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  http.get({ port, path, host: "127.0.0.1", ...(agent && { agent }) }, resolve).on("error", reject);
  const response = await promise;
  const body = await json(response);
  if (response.statusCode !== 200) throw new Error(`GET ${path}: ${response.statusCode} ${JSON.stringify(body)}`);
  return body;
}

/** The node that answers each path. */
export async function nodesOf(port: number, paths: readonly string[]): Promise<Map<string, string>> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const nodes = new Map<string, string>();
  const left = paths.values();
  const ask = async (): Promise<void> => {
    for (const path of left) {
      const { node } = (await getJson(port, path, agent)) as { node: string };
      nodes.set(path, node);
    }
  };
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, ask));
    return nodes;
  } finally {
    agent.destroy();
  }
}
