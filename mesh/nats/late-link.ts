// The NATS adapter, loaded when it is first used: workers never do, and it would take 2 MB of each.

import type { connectNats as connect, NatsLink } from "./link.ts";

/** `url`: one server or several, separated by commas; a user and a password may stand in the first. */
export async function connectNats(...parameters: Parameters<typeof connect>): Promise<NatsLink> {
  const link = await import("./link.ts");
  return link.connectNats(...parameters);
}
