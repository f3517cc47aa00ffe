// What an idle session and an open idle socket cost: the difference in the worker before and after, each time without garbage, divided
// by how many there are.

import { getJson } from "../load/probe.ts";
import { runWrk } from "../load/wrk.ts";
import { openSockets } from "../load/ws-sockets.ts";
import { MEMORY_PATH, type MemoryInUse } from "../memory.ts";
import type { Pace } from "../pace.ts";
import type { MemoryRow } from "../row.ts";
import { startControl, startMesh, type Server } from "../servers.ts";
import type { Scenario } from "../scenario.ts";

/** Long enough to compile what creates sessions before the first count. */
const FIRST_SECONDS = 1;
/** Sessions are created in slices of this, until there are enough. */
const SLICE_SECONDS = 2;
/** Sockets that are opened before the first count, for the same reason. */
const FIRST_SOCKETS = 100;
const SESSIONS_OF_SOCKETS = 50;

interface Cost {
  readonly count: number;
  readonly heapBytes: number;
  readonly rssBytes: number;
}

export const sessionMemory: Scenario = {
  name: "session-memory",
  needsWrk: true,
  async run({ pace, say }) {
    await using control = await startControl("http", { exposeGc: true });
    await using mesh = await startMesh({ nodes: 1, exposeGc: true });
    const floor = await costOfSessions(control, pace);
    const ours = await costOfSessions(mesh, pace);
    say(`  control ${floor.count} sessions, mesh ${ours.count} sessions`);
    return rows("idle session", floor, ours, { bytes: 900 });
  },
};

export const socketMemory: Scenario = {
  name: "socket-memory",
  needsWrk: false,
  async run({ pace, say }) {
    await using control = await startControl("ws", { exposeGc: true });
    await using mesh = await startMesh({ nodes: 1, exposeGc: true });
    const floor = await costOfSockets(control, pace);
    const ours = await costOfSockets(mesh, pace);
    say(`  ${ours.count} sockets each`);
    return rows("open idle socket", floor, ours, { ratio: 1.3 });
  },
};

async function costOfSessions(server: Server, pace: Pace): Promise<Cost> {
  await runWrk(server.port, { fresh: "/sessions/counter/first-" }, FIRST_SECONDS);
  const before = await memoryOf(server);
  let after = before;
  for (let slice = 0; after.sessions - before.sessions < pace.idleSessions; slice++) {
    await runWrk(server.port, { fresh: `/sessions/counter/idle${slice}-` }, SLICE_SECONDS);
    after = await memoryOf(server);
  }
  return cost(before, after, after.sessions - before.sessions);
}

async function costOfSockets(server: Server, pace: Pace): Promise<Cost> {
  const paths = Array.from({ length: SESSIONS_OF_SOCKETS }, (_, at) => `/sessions/echo/e${at}`);
  const open = (sockets: number) => openSockets({ port: server.port, paths, sockets });
  await using first = await open(FIRST_SOCKETS);
  await first.echo(FIRST_SECONDS);
  const before = await memoryOf(server);
  await using _idle = await open(pace.idleSockets);
  return cost(before, await memoryOf(server), pace.idleSockets);
}

async function memoryOf(server: Server): Promise<MemoryInUse> {
  // The first answer's own garbage, and what ended just before, is gone in the second.
  await getJson(server.port, MEMORY_PATH);
  return (await getJson(server.port, MEMORY_PATH)) as MemoryInUse;
}

function cost(before: MemoryInUse, after: MemoryInUse, count: number): Cost {
  return {
    count,
    heapBytes: (after.heapBytes - before.heapBytes) / count,
    rssBytes: (after.rssBytes - before.rssBytes) / count,
  };
}

function rows(what: string, floor: Cost, ours: Cost, target: NonNullable<MemoryRow["target"]>): MemoryRow[] {
  const { count } = ours;
  return [
    { type: "memory", what: `${what}, heap`, count, controlBytes: floor.heapBytes, meshBytes: ours.heapBytes, target },
    { type: "memory", what: `${what}, whole process`, count, controlBytes: floor.rssBytes, meshBytes: ours.rssBytes },
  ];
}
