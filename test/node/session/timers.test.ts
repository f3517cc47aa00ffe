// Timers of sessions, on Node's real clock: these wait for timers to fire, never for time to pass.

import timersModule, { setTimeout as namedSetTimeout } from "node:timers";
import { setTimeout as delay, setInterval as ticks, scheduler } from "node:timers/promises";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { SessionServer } from "sessionmesh";
import { installSessionTimers } from "../../../node/session/timers.ts";
import { callTo, codeOf, settle, startHost } from "./harness.ts";

beforeAll(() => installSessionTimers());

/** Runs what the test says, as session code. */
let script: (self: Scripted) => unknown = () => undefined;
class Scripted extends SessionServer {
  static readonly options = { idleMs: 1_000 };
  count = 0;
  override async fetch(): Promise<Response> {
    await script(this);
    return new Response(String(++this.count));
  }
}
class Serial extends Scripted {
  static override readonly options = { idleMs: 1_000, turns: "serial" as const };
}

function start() {
  return startHost({ scripted: Scripted, serial: Serial });
}

/** A timer of nobody's, set after and due after all that are under test. */
function later(ms = 20): Promise<void> {
  return new Promise((resolve) => globalThis.setTimeout(resolve, ms));
}

test("a throw in a timer, an interval or an immediate crashes its session and no other", async () => {
  const { get, ended } = start();
  const boom = (): never => {
    throw new Error("boom");
  };
  script = () => {};
  await get("scripted/neighbour");
  for (const set of [() => setTimeout(boom, 1), () => setInterval(boom, 1), () => setImmediate(boom)]) {
    const name = `scripted/${ended.length}`;
    script = set;
    await get(name);
    await later();
    expect(ended.at(-1)).toMatchObject({ key: name, reason: "crashed", error: { message: "boom" } });
  }
  // An interval of an ended session does not fire again.
  expect(ended).toHaveLength(3);
  script = () => {};
  expect(await get("scripted/neighbour")).toBe("2");
});

test("a rejection of an async timer callback crashes its session", async () => {
  const { get, ended } = start();
  script = () =>
    // oxlint-disable-next-line typescript/no-misused-promises -- users do
    setTimeout(async () => {
      await Promise.reject(new Error("boom"));
    }, 1);
  await get("scripted/a");
  await later();
  expect(ended).toMatchObject([{ reason: "crashed" }]);
});

test("timers end with their session", async () => {
  const { get, host, start: activate } = start();
  let fired = 0;
  const fire = (): void => void fired++;
  script = () => {
    setTimeout(fire, 5);
    setInterval(fire, 5);
    timersModule.setTimeout(fire, 5);
    namedSetTimeout(fire, 5);
    void delay(5).then(fire);
    void promisify(setTimeout)(5).then(fire);
    void scheduler.wait(5).then(fire);
  };
  await get("scripted/a");
  const key = activate("scripted/a");
  expect(host.describe(key)?.timers).toBe(7);
  host.dropAll(1012);
  await later(30);
  expect(fired).toBe(0);
});

test("an ended session leaves no timer in the process", async () => {
  const { get, host } = start();
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const before = timers();
  script = () => {
    for (let at = 0; at < 10; at++) setInterval(() => {}, 60_000);
  };
  await get("scripted/a");
  expect(timers()).toBe(before + 10);
  host.dropAll(1012);
  expect(timers()).toBe(before);
});

test("what an ended session sets never fires", async () => {
  const { send, host } = start();
  let fired = 0;
  const gate = Promise.withResolvers<void>();
  script = async () => {
    await gate.promise;
    setTimeout(() => fired++, 1).unref();
    setImmediate(() => fired++);
  };
  const answer = codeOf(send(callTo("scripted/a")));
  host.dropAll(1012);
  gate.resolve();
  await answer;
  await later();
  expect(fired).toBe(0);
});

test("timers count until they are done or cleared, however they are cleared", async () => {
  const { get, host, start: activate } = start();
  const nothing = (): void => {};
  script = () => {
    clearTimeout(setTimeout(nothing, 1_000));
    clearInterval(setInterval(nothing, 1_000));
    clearImmediate(setImmediate(nothing));
    clearTimeout(Number(setTimeout(nothing, 1_000)));
    setTimeout(nothing, 1_000).close();
    setTimeout(nothing, 1_000)[Symbol.dispose]();
    setImmediate(nothing)[Symbol.dispose]();
    setTimeout(nothing, 1);
  };
  await get("scripted/a");
  expect(host.describe(activate("scripted/a"))?.timers).toBe(1);
  await later();
  expect(host.describe(activate("scripted/a"))?.timers).toBe(0);
});

test("a timer keeps what Node's has: arguments, this, ref, refresh", async () => {
  const { get, host, start: activate } = start();
  const seen: unknown[] = [];
  let timer: NodeJS.Timeout | undefined;
  script = () => {
    timer = setTimeout(
      function (this: unknown, ...parameters: unknown[]) {
        seen.push(this === timer, parameters);
      },
      1,
      "x",
      2,
    );
    expect(timer.hasRef()).toBe(true);
    expect(timer.unref().hasRef()).toBe(false);
    expect(timer.ref()).toBe(timer);
    expect(() => setTimeout(1 as unknown as () => void)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_TYPE" }),
    );
  };
  await get("scripted/a");
  await later();
  expect(seen).toEqual([true, ["x", 2]]);
  timer?.refresh();
  // As zone.js does.
  const native = timer?.refresh;
  if (timer !== undefined) Object.assign(timer, { refresh: native, close: timer.close });
  expect(host.describe(activate("scripted/a"))?.timers).toBe(1);
  await later();
  expect(seen).toHaveLength(4);
});

test("a pending timer keeps its session from idling, one without ref does not", async () => {
  const { get, clock, host } = start();
  script = ({ ctx }) => setTimeout(() => {}, 60_000)[ctx.id.name === "kept" ? "ref" : "unref"]();
  await get("scripted/kept");
  await get("scripted/free");
  await clock.advance(5_000);
  expect([...host.sessions()].map(({ id }) => id.name)).toEqual(["kept"]);
  host.close();
});

test("promise timers give their value, and Node's own error when they are aborted", async () => {
  const { get } = start();
  script = async () => {
    expect(await delay(1, "value")).toBe("value");
    expect(await promisify(setTimeout)(1, "value")).toBe("value");
    const controller = new AbortController();
    const aborted = delay(60_000, undefined, { signal: controller.signal });
    controller.abort(new Error("why"));
    await expect(aborted).rejects.toMatchObject({ name: "AbortError", code: "ABORT_ERR" });
    await expect(delay(1, undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    let count = 0;
    for await (const value of ticks(1, "tick")) {
      expect(value).toBe("tick");
      if (++count === 3) break;
    }
  };
  expect(await get("scripted/a")).toBe("1");
});

test("outside of sessions timers are Node's own", async () => {
  const timer = setTimeout(() => {}, 1);
  expect(Object.hasOwn(Object.getPrototypeOf(timer) as object, "hasRef")).toBe(true);
  expect(await delay(1, "value")).toBe("value");
});

test("a serial turn may wait for its own timer, and timers of earlier turns wait for it", async () => {
  const { get } = start();
  const order: string[] = [];
  script = () => void setTimeout(() => order.push("earlier timer"), 1);
  await get("serial/a");
  script = async () => {
    await new Promise<void>((resolve) => setTimeout(resolve, 15));
    order.push("turn");
  };
  await get("serial/a");
  await settle();
  expect(order).toEqual(["turn", "earlier timer"]);
});

test("a timer that falls due without the lease fires once, when the lease is back", async () => {
  const { get, lease } = start();
  let fired = 0;
  const firing = Promise.withResolvers<void>();
  script = () => {
    setTimeout(() => {
      fired++;
      firing.resolve();
    }, 1);
    const cleared = setTimeout(() => fired++, 1);
    setTimeout(() => clearTimeout(cleared), 0);
  };
  await get("scripted/a");
  lease.close();
  await later();
  expect(fired).toBe(0);
  lease.open();
  await firing.promise;
  await later(5);
  expect(fired).toBeLessThanOrEqual(2);
});

test("the clock that undici keeps for all requests is no session's", async () => {
  const { createServer } = await import("node:http");
  const server = createServer((_request, response) => response.end("hello")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const { get, host, start: activate } = start();
  script = async () => {
    await (await fetch(url)).text();
  };
  await get("scripted/a");
  expect(host.describe(activate("scripted/a"))?.timers).toBe(0);
  server.closeAllConnections();
  server.close();
});

test("one timer too many throws into the code that sets it", async () => {
  const { get, code, ended, lines } = start();
  script = () => {};
  await get("scripted/neighbour");
  script = () => {
    for (let at = 0; at < 50_001; at++) setTimeout(() => {}, 60_000);
  };
  expect(await code("scripted/many")).toBe("handler_failed");
  expect(ended).toEqual([]);
  expect(JSON.stringify(lines)).toContain("scripted/many has 50000 timers, which is all that one session may have");
  script = () => {};
  expect(await get("scripted/neighbour")).toBe("2");
});

test("timers that are done or cleared do not count", async () => {
  const { get } = start();
  script = () => {
    for (let at = 0; at < 60_000; at++) clearTimeout(setTimeout(() => {}, 60_000));
  };
  expect(await get("scripted/tidy")).toBe("1");
});

test("a timer keeps its session from stopping while its host drains, until it is cleared", async () => {
  const { host, get, clock, ended } = start();
  let timer: NodeJS.Timeout | undefined;
  script = () => {
    timer = setTimeout(() => {}, 600_000);
  };
  await get("scripted/kept");
  script = () => setTimeout(() => {}, 600_000).unref();
  await get("scripted/not");
  host.drain();
  await clock.advance(5_000);
  expect(ended.map(({ key }) => key)).toEqual(["scripted/not"]);
  clearTimeout(timer);
  await clock.advance(600);
  expect(ended).toMatchObject([{}, { key: "scripted/kept", reason: "drained" }]);
});
