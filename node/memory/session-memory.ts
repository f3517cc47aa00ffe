// What of the objects of a worker is one session's: where a walk over its memory begins, and where it ends.

import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import { Server } from "node:net";
import { Stream } from "node:stream";
import { CellContext } from "../session/cell-context.ts";
import { CellSocket } from "../session/cell-socket.ts";
import { Cell } from "../session/cell.ts";
import { SessionServer } from "../session/server.ts";
import { footprintOf, type Footprint } from "./footprint.ts";
import type { PrivateFields } from "./private-fields.ts";

/** `foreign`: where else the walk is to end. */
export function sessionFootprint(
  cell: Cell,
  privateFields: PrivateFields,
  foreign: (object: object) => boolean,
): Generator<void, Footprint> {
  const { server } = cell;
  const attachments = [...cell.belongings.sockets].map((socket) => socket.attachment);
  return footprintOf({
    roots: [server, ...attachments],
    privateFields,
    foreign: (object) => foreign(object) || (object !== server && isOfTheWorker(object)),
  });
}

/** From these on there are ways to everything else in the process. */
function isOfTheWorker(object: object): boolean {
  return (
    object instanceof SessionServer ||
    object instanceof CellContext ||
    object instanceof CellSocket ||
    object instanceof Cell ||
    object instanceof Stream ||
    object instanceof Server ||
    object instanceof AsyncResource ||
    object instanceof AsyncLocalStorage ||
    // Timers and immediates of Node, which are linked to each other.
    Object.hasOwn(object, "_idleNext") ||
    Object.hasOwn(object, "_onImmediate") ||
    object === globalThis ||
    object === process
  );
}
