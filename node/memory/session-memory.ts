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

/** Timers of one session whose functions are looked at: mostly they are the same few over and over. */
const CALLBACKS_MAX = 50;

/** `foreign`: where else the walk is to end. */
export function sessionFootprint(
  cell: Cell,
  privateFields: PrivateFields,
  foreign: (object: object) => boolean,
): Generator<void, Footprint> {
  const { server } = cell;
  const { sockets, timers } = cell.belongings;
  const attachments = [...sockets].map((socket) => socket.attachment);
  const callbacks = [...timers]
    .slice(0, CALLBACKS_MAX)
    .flatMap(({ callback, parameters }) => [callback, ...parameters]);
  return footprintOf({
    roots: [...callbacks, ...attachments, server],
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
