// WebSockets that each send a message, wait for its echo, and send the next; each socket has a session of its own.

import { openSockets } from "../load/ws-sockets.ts";
import { compare } from "../rounds.ts";
import { startControl, startMesh } from "../servers.ts";
import type { Scenario } from "../scenario.ts";

export const wsEcho: Scenario = {
  name: "ws-echo",
  needsWrk: false,
  async run(setting) {
    const { pace, profile } = setting;
    await using control = await startControl("ws");
    await using mesh = await startMesh({ nodes: 1, profile });
    const paths = Array.from({ length: pace.sockets }, (_, at) => `/sessions/echo/e${at}`);
    const open = ({ port }: typeof control) => openSockets({ port, paths, sockets: pace.sockets });
    await using controlSockets = await open(control);
    await using meshSockets = await open(mesh);
    const side = ({ pids }: typeof control, sockets: typeof controlSockets) => ({
      pids,
      load: (seconds: number) => sockets.echo(seconds),
    });
    const comparison = await compare(side(control, controlSockets), side(mesh, meshSockets), setting);
    const what = `WebSocket echo, ${pace.sockets.toLocaleString("en")} sockets, local`;
    return [{ type: "load", what, target: 0.8, ...comparison }];
  },
};
