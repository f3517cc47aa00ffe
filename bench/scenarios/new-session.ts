// Each request asks for a name that was never asked for before.

import { runWrk } from "../load/wrk.ts";
import { compare } from "../rounds.ts";
import { startControl, startMesh } from "../servers.ts";
import type { Scenario } from "../scenario.ts";

export const newSession: Scenario = {
  name: "new-session",
  needsWrk: true,
  async run(setting) {
    const { profile } = setting;
    await using control = await startControl("http");
    await using mesh = await startMesh({ nodes: 1, profile });
    let runs = 0;
    const side = ({ port, pids }: typeof control) => ({
      pids,
      load: (seconds: number) => runWrk(port, { fresh: `/sessions/counter/r${++runs}-` }, seconds),
    });
    const what = "request to a new session each time, local";
    return [{ type: "load", what, target: 0.8, ...(await compare(side(control), side(mesh), setting)) }];
  },
};
