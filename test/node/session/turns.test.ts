import { expect, test } from "vitest";
import { SessionServer, type SessionSocket } from "sessionmesh";
import { callTo, codeOf, settle, startHost } from "./harness.ts";

/** Each event waits for its own gate. */
class Gates {
  readonly order: string[] = [];
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();

  async pass(name: string): Promise<void> {
    this.order.push(`${name} begins`);
    await this.gate(name).promise;
    this.order.push(`${name} ends`);
  }

  gate(name: string): PromiseWithResolvers<void> {
    const gate = this.#gates.get(name) ?? Promise.withResolvers<void>();
    this.#gates.set(name, gate);
    return gate;
  }
}

function classWith(gates: Gates, turns: "serial" | "interleaved") {
  return class extends SessionServer {
    static readonly options = { turns, uncaught: "session" as const };
    override async fetch(request: Request): Promise<Response> {
      await gates.pass(new URL(request.url).pathname.slice(1));
      return new Response();
    }
    override async onMessage(_socket: SessionSocket, message: string | Uint8Array): Promise<void> {
      await gates.pass(String(message));
    }
  };
}

test("interleaved turns run between each other's awaits", async () => {
  const gates = new Gates();
  const { get } = startHost({ room: classWith(gates, "interleaved") });
  const answers = [get("room/a", "/1"), get("room/a", "/2")];
  await settle();
  gates.gate("2").resolve();
  gates.gate("1").resolve();
  await Promise.all(answers);
  expect(gates.order.slice(0, 2)).toEqual(["1 begins", "2 begins"]);
});

test("serial turns run one after the other, requests and messages alike, in their order", async () => {
  const gates = new Gates();
  const { get, connect } = startHost({ room: classWith(gates, "serial") });
  const { end } = await connect("room/a");
  const first = get("room/a", "/1");
  const message = end.message("2");
  const third = get("room/a", "/3");
  await settle();
  expect(gates.order).toEqual(["1 begins"]);
  gates.gate("3").resolve();
  gates.gate("1").resolve();
  await first;
  await settle();
  expect(gates.order).toEqual(["1 begins", "1 ends", "2 begins"]);
  gates.gate("2").resolve();
  await message;
  await third;
  expect(gates.order.slice(3)).toEqual(["2 ends", "3 begins", "3 ends"]);
});

test("a thousand serial turns that end at once need no deep stack", async () => {
  let turns = 0;
  const gate = Promise.withResolvers<void>();
  class Quick extends SessionServer {
    static readonly options = { turns: "serial" } as const;
    override fetch(): Response | Promise<Response> {
      return ++turns === 1 ? gate.promise.then(() => new Response()) : new Response();
    }
  }
  const { get } = startHost({ quick: Quick });
  const answers = Array.from({ length: 1_000 }, () => get("quick/a"));
  gate.resolve();
  await Promise.all(answers);
  expect(turns).toBe(1_000);
});

test("a serial turn that crashes fails those that waited for it", async () => {
  const gates = new Gates();
  const { send } = startHost({ room: classWith(gates, "serial") });
  const answers = ["/1", "/2"].map((path) => codeOf(send(callTo("room/a", { path }))));
  await settle();
  gates.gate("1").reject(new Error("boom"));
  expect(await Promise.all(answers)).toEqual(["session_crashed", "session_crashed"]);
  expect(gates.order).toEqual(["1 begins"]);
});

test("events wait while blockConcurrencyWhile runs, and its result comes back", async () => {
  const gate = Promise.withResolvers<number>();
  const order: string[] = [];
  class Blocking extends SessionServer {
    override async fetch(request: Request): Promise<Response> {
      const { pathname } = new URL(request.url);
      order.push(pathname);
      if (pathname !== "/block") return new Response();
      const result = await this.ctx.blockConcurrencyWhile(async () => {
        const value = await gate.promise;
        order.push("loaded");
        return value;
      });
      return new Response(String(result));
    }
  }
  const { get } = startHost({ blocking: Blocking });
  const blocked = get("blocking/a", "/block");
  const other = get("blocking/a", "/other");
  await settle();
  expect(order).toEqual(["/block"]);
  gate.resolve(7);
  expect(await blocked).toBe("7");
  await other;
  expect(order).toEqual(["/block", "loaded", "/other"]);
});

test("a block that does not settle in 30 s crashes the session", async () => {
  class Blocking extends SessionServer {
    override async fetch(): Promise<Response> {
      await this.ctx.blockConcurrencyWhile(() => new Promise(() => {}));
      return new Response();
    }
  }
  const { send, clock, ended } = startHost({ blocking: Blocking });
  const answer = codeOf(send(callTo("blocking/a")));
  await clock.advance(31_000);
  expect(await answer).toMatch(/timeout|session_crashed/);
  expect(ended).toMatchObject([{ reason: "crashed" }]);
});

test("messages are not refused for their number: each holds its part of the socket's window until its turn is over", async () => {
  const gates = new Gates();
  const { connect, get, host, start } = startHost({ room: classWith(gates, "serial") });
  const { client, end } = await connect("room/a");
  void get("room/a", "/1").catch(() => {});
  const held = Array.from({ length: 2_000 }, () => end.message("m"));
  expect(held.every((message) => message instanceof Promise)).toBe(true);
  expect(client.closed).toBeUndefined();
  await settle();
  host.kill(start("room/a"), new (await import("sessionmesh")).MeshError("session_killed", "test"));
  for (const message of held) await message;
});
