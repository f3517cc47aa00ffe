// Tells when a session begins and ceases to run: by its entries, and by Node's hooks before and after what follows an `await`. There is
// nothing of it in the way of a turn while nobody asks: the entry is swapped, the hooks are set, and both are taken back.

import { promiseHooks } from "node:v8";
import { Cell } from "../session/cell.ts";
import { current } from "../session/current.ts";

/**
 * What runs in callbacks of Node, such as events of streams, is taken for nobody's.
 * @param switchTo is told who runs from now on, and returns who ran before; MUST NOT throw
 * @returns ends it
 */
export function watchTurns(switchTo: (cell: Cell | undefined) => Cell | undefined): () => void {
  const { enter } = Cell.prototype;
  Cell.prototype.enter = function enterWatched<Arguments extends unknown[], Result>(
    this: Cell,
    fn: (...parameters: Arguments) => Result,
    ...parameters: Arguments
  ): Result {
    const before = switchTo(this);
    try {
      return enter.bind(this)(fn, ...parameters);
    } finally {
      switchTo(before);
    }
  };
  const unhook: unknown = promiseHooks.createHook({
    before: () => switchTo(current.getStore()),
    after: () => switchTo(undefined),
  });
  return () => {
    Cell.prototype.enter = enter;
    if (typeof unhook === "function") unhook();
  };
}
