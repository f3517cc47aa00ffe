// A process that listens for links, never answers a call, and tells its parent of each.

import { tmpdir } from "node:os";
import path from "node:path";
import { listenLinks } from "#mesh";
import { host } from "./members.ts";

const listener = await listenLinks({
  self: host,
  mesh: "test",
  bind: "127.0.0.1",
  socketPath: path.join(tmpdir(), `link-${process.pid}.sock`),
  epoch: () => 1,
  service: {
    admit: () => Promise.resolve(true),
    call: () => {
      process.send?.("called");
      return new Promise(() => {});
    },
    connect: () => ({ status: "moved", worker: undefined, epoch: 1 }),
    ask: () => ({ ok: true, sessions: [], more: false }),
  },
});
process.send?.({ port: listener.port, socket: listener.socket });
