// Clients that come as fast as they are taken, with nobody else on the worker: what a pace that guards neighbours costs when there are none.

import { startCrowd, type Crowd } from "../load/ws-sockets.ts";
import { compare, type Side } from "../rounds.ts";
import type { Pace } from "../pace.ts";
import type { Scenario } from "../scenario.ts";
import { startControl, startMesh, type Server } from "../servers.ts";

/** Sessions that the clients belong to. */
const ROOMS = 100;

export const wsConnect: Scenario = {
  name: "ws-connect",
  needsWrk: false,
  async run(setting) {
    const { pace, profile } = setting;
    await using control = await startControl("ws");
    await using mesh = await startMesh({ nodes: 1, profile });
    await using controlCrowd = startCrowd();
    await using meshCrowd = startCrowd();
    const comparison = await compare(sideOf(control, controlCrowd, pace), sideOf(mesh, meshCrowd, pace), setting);
    const what = `WebSockets connected, ${pace.crowd.toLocaleString("en")} at once, nobody else there`;
    return [{ type: "load", what, target: 0.6, ...comparison }];
  },
};

/** Counted by heads, not by time: every other crowd only warms up. */
function sideOf({ pids, port }: Server, crowd: Crowd, pace: Pace): Side {
  const paths = Array.from({ length: ROOMS }, (_, at) => `/sessions/echo/e${at}`);
  let warm = false;
  return {
    pids,
    async load() {
      warm = !warm;
      // Closing costs, too, and is not what is measured.
      await crowd.close();
      const result = await crowd.connect({ port, paths, sockets: warm ? Math.ceil(pace.crowd / 5) : pace.crowd });
      if (warm) await crowd.close();
      return result;
    },
  };
}
