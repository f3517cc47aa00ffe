// Two nodes with one worker each on one core. All load goes to the first; the control asks for sessions that live there, the other
// side for sessions that live on the second node, one link away. The CPU of both nodes counts on both sides.

import { nodesOf } from "../load/probe.ts";
import { runWrk, type LoadResult } from "../load/wrk.ts";
import { openSockets } from "../load/ws-sockets.ts";
import { compare } from "../rounds.ts";
import { startMesh, type MeshWish, type Server } from "../servers.ts";
import type { Scenario } from "../scenario.ts";

export const hopOverUnixSocket = requestHop("hop-unix", "unix", "to a worker of this machine (Unix socket)");
export const hopOverTcp = requestHop("hop-tcp", "tcp", "to a node of another machine (TCP)");

export const socketHop: Scenario = {
  name: "ws-hop",
  needsWrk: false,
  async run(setting) {
    const { pace, profile } = setting;
    await using mesh = await startMesh({ nodes: 2, link: "unix", profile });
    const sorted = await namesByNode(mesh, "/sessions/echo/e", pace.sockets);
    await using near = await openSockets({ port: mesh.port, paths: sorted.near, sockets: pace.sockets });
    await using far = await openSockets({ port: mesh.port, paths: sorted.far, sockets: pace.sockets });
    const side = (sockets: typeof near) => ({
      pids: mesh.pids,
      load: (seconds: number): Promise<LoadResult> => sockets.echo(seconds),
    });
    const what = "WebSocket echo, hop to a worker of this machine (control: local)";
    return [{ type: "load", what, target: 0.5, ...(await compare(side(near), side(far), setting)) }];
  },
};

function requestHop(name: string, link: MeshWish["link"] & string, where: string): Scenario {
  return {
    name,
    needsWrk: true,
    async run(setting) {
      const { pace, profile } = setting;
      await using mesh = await startMesh({ nodes: 2, link, profile });
      const sorted = await namesByNode(mesh, "/sessions/counter/s", pace.sessions);
      const side = (inTurn: readonly string[]) => ({
        pids: mesh.pids,
        load: (seconds: number) => runWrk(mesh.port, { inTurn }, seconds),
      });
      const comparison = await compare(side(sorted.near), side(sorted.far), setting);
      return [{ type: "load", what: `hop ${where} (control: local)`, target: 0.5, ...comparison }];
    },
  };
}

/** `count` paths of sessions on the first node and as many of sessions on the second; placement decides which are which. */
async function namesByNode(
  mesh: Server,
  prefix: string,
  count: number,
): Promise<{ readonly near: string[]; readonly far: string[] }> {
  const near: string[] = [];
  const far: string[] = [];
  for (let from = 0; near.length < count || far.length < count; from += count) {
    if (from > count * 50)
      throw new Error(`of ${from} sessions only ${Math.min(near.length, far.length)} are on one of the nodes`);
    const paths = Array.from({ length: count }, (_, at) => `${prefix}${from + at}`);
    for (const [path, node] of await nodesOf(mesh.port, paths)) (node === mesh.nodes[0] ? near : far).push(path);
  }
  return { near: near.slice(0, count), far: far.slice(0, count) };
}
