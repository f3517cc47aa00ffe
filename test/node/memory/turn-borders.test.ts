// Who runs when, as told of real sessions.

import { afterEach, expect, test } from "vitest";
import { SessionServer } from "sessionmesh";
import { watchTurns } from "../../../node/memory/turn-borders.ts";
import { Cell } from "../../../node/session/cell.ts";
import { current } from "../../../node/session/current.ts";
import { installSessionTimers } from "../../../node/session/timers.ts";
import { settle, startHost } from "../session/harness.ts";

installSessionTimers();

let ran: Cell | undefined;
/** Who was told to run while the code of a session did. */
const told: (string | undefined)[] = [];

class Waiting extends SessionServer {
  override async fetch(): Promise<Response> {
    note();
    await Promise.resolve();
    note();
    await new Promise((resolve) => setTimeout(resolve, 1));
    note();
    await new Promise((resolve) => setImmediate(resolve));
    note();
    return new Response();
  }
}

function note(): void {
  told.push(ran?.id.key);
}

let end: (() => void) | undefined;
function watch(): void {
  end = watchTurns((cell) => {
    const before = ran;
    ran = cell;
    return before;
  });
}
afterEach(() => {
  end?.();
  end = ran = undefined;
  told.length = 0;
});

test("a session runs in its entries and behind each await, and nobody in between", async () => {
  const { get } = startHost({ waiting: Waiting });
  watch();
  await get("waiting/a");
  expect(told).toEqual(["waiting/a", "waiting/a", "waiting/a", "waiting/a"]);
  await settle();
  expect(ran).toBeUndefined();
});

test("each of two that wait side by side is told by its own name", async () => {
  class Telling extends SessionServer {
    override async fetch(): Promise<Response> {
      for (let hop = 0; hop < 5; hop++) {
        if (ran !== current.getStore()) return new Response("another one");
        await new Promise((resolve) => setImmediate(resolve));
      }
      return new Response("itself");
    }
  }
  const { get } = startHost({ telling: Telling });
  watch();
  expect(await Promise.all([get("telling/a"), get("telling/b")])).toEqual(["itself", "itself"]);
});

test("what throws ends its turn too", async () => {
  class Throwing extends SessionServer {
    override fetch(): Response {
      throw new Error("no");
    }
  }
  const { get } = startHost({ throwing: Throwing });
  watch();
  await expect(get("throwing/a")).rejects.toThrow("failed");
  await settle();
  expect(ran).toBeUndefined();
});

test("afterwards the entry is what it was, and nothing is told", async () => {
  const { enter } = Cell.prototype;
  watch();
  expect(Cell.prototype.enter).not.toBe(enter);
  end?.();
  expect(Cell.prototype.enter).toBe(enter);
  const { get } = startHost({ waiting: Waiting });
  await get("waiting/a");
  expect(told).toEqual([undefined, undefined, undefined, undefined]);
});
