// Requests to sessions that live in the worker which accepted the connection.

import { runWrk } from "../load/wrk.ts";
import { compare } from "../rounds.ts";
import { startControl, startMesh } from "../servers.ts";
import type { Scenario } from "../scenario.ts";

export const localHit: Scenario = {
  name: "local-hit",
  needsWrk: true,
  async run(setting) {
    const { pace, profile } = setting;
    await using control = await startControl("http");
    await using mesh = await startMesh({ nodes: 1, profile });
    const inTurn = Array.from({ length: pace.sessions }, (_, at) => `/sessions/counter/s${at}`);
    const side = ({ port, pids }: typeof control) => ({
      pids,
      load: (seconds: number) => runWrk(port, { inTurn }, seconds),
    });
    const what = `request to one of ${pace.sessions.toLocaleString("en")} sessions, local`;
    return [{ type: "load", what, target: 0.8, ...(await compare(side(control), side(mesh), setting)) }];
  },
};
