// One real worker with many sessions, of which one goes wrong in each test. The culprit ends and is named; the others lose nothing:
// no state, no answer, no message, no timer.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";

/** Neighbours with state and a timer; a part of them has a request or a socket in use at the moment of the fault. */
const NEIGHBOURS = 200;
const SOCKETS = 20;
/** Smaller than the default, so that the file takes less time. */
const BUDGET_MS = 400;
/** Requests that are under way when the fault strikes, of each kind. */
const EACH = 8;
const AWAITS = ["sleep", "timeout", "hops", "stub", "stream"] as const;
/** Ends after the fault does. */
const UNDER_WAY_MS = 2 * BUDGET_MS;

interface Answer {
  readonly count: number;
  readonly ticks: number;
  readonly instance: string;
}

class Neighbourhood {
  readonly #gateway: string;
  readonly #before = new Map<string, Answer>();
  readonly #sockets: { readonly socket: WebSocket; readonly received: string[]; sent: number }[] = [];

  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  async settle(): Promise<void> {
    for (let at = 0; at < NEIGHBOURS; at += 20) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, more) => {
          const name = `n${at + more}`;
          this.#before.set(name, await this.ask(name));
        }),
      );
    }
    for (let at = 0; at < SOCKETS; at++) {
      const socket = new WebSocket(`${this.#gateway.replace("http", "ws")}/sessions/neighbour/n${at}`);
      const received: string[] = [];
      socket.on("message", (data: Buffer) => received.push(data.toString()));
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      this.#sockets.push({ socket, received, sent: 0 });
    }
  }

  async ask(name: string, query = ""): Promise<Answer> {
    const response = await fetch(`${this.#gateway}/sessions/neighbour/${name}${query}`);
    expect(response.status).toBe(200);
    return (await response.json()) as Answer;
  }

  /** What is under way while `fault` happens, and that all of it comes to a good end. */
  async livesThrough(fault: () => Promise<void>): Promise<{ readonly longestMs: number }> {
    const asked = new Map<string, number>();
    const inFlight = AWAITS.flatMap((how, kind) =>
      Array.from({ length: EACH }, async (_, at) => {
        const name = `n${kind * EACH + at + SOCKETS}`;
        asked.set(name, 1);
        const response = await fetch(`${this.#gateway}/sessions/neighbour/${name}?how=${how}&ms=${UNDER_WAY_MS}`);
        expect([how, response.status]).toEqual([how, 200]);
        const text = await response.text();
        if (how === "stream") expect(text).toBe("x".repeat(10));
        else expect((JSON.parse(text) as Answer).instance).toBe(this.#before.get(name)?.instance);
      }),
    );
    // Looked at below, whatever the fault does meanwhile.
    const answered = Promise.allSettled(inFlight);
    const talk = setInterval(() => {
      for (const one of this.#sockets) one.socket.send(String(one.sent++));
    }, 20);
    let longestMs = 0;
    let watching = true;
    const watch = (async () => {
      for (let at = 100; watching; at = at === 120 ? 100 : at + 1) {
        const name = `n${at}`;
        const askedMs = performance.now();
        await this.ask(name);
        asked.set(name, (asked.get(name) ?? 0) + 1);
        longestMs = Math.max(longestMs, performance.now() - askedMs);
        await sleep(5);
      }
    })();
    await sleep(50);
    try {
      await fault();
    } finally {
      await answered;
      watching = false;
      clearInterval(talk);
      await watch;
    }
    await Promise.all(inFlight);
    await eventually(() => this.#sockets.every(({ sent, received }) => received.length === sent), 5_000);
    for (const { received } of this.#sockets) expect(received).toEqual(received.map((_, at) => String(at)));
    await this.#check(asked);
    return { longestMs };
  }

  async #check(asked: ReadonlyMap<string, number>): Promise<void> {
    for (const [name, before] of this.#before) {
      const now = await this.ask(name);
      expect({ name, instance: now.instance }).toEqual({ name, instance: before.instance });
      expect({ name, count: now.count }).toEqual({ name, count: before.count + (asked.get(name) ?? 0) + 1 });
      expect(now.ticks).toBeGreaterThan(before.ticks);
      this.#before.set(name, now);
    }
  }

  close(): void {
    for (const { socket } of this.#sockets) socket.terminate();
  }
}

/** A worker with more kills in a minute is replaced, so each group has its own. */
function inOneWorker(
  name: string,
  tests: (world: () => { gateway: string; mesh: TestMesh; others: Neighbourhood }) => void,
): void {
  // oxlint-disable-next-line vitest/valid-title
  describe(name, () => {
    let mesh: TestMesh | undefined;
    let others: Neighbourhood | undefined;
    beforeAll(async () => {
      mesh = await startMesh({
        app: "test/cluster/fault-app.ts",
        nodes: 1,
        workers: 1,
        env: { MESH_TURN_BUDGET_MS: String(BUDGET_MS), MESH_TURN_HEAP_MB: "128" },
      });
      others = new Neighbourhood(mesh.nodes[0]?.gateway ?? "");
      await others.settle();
    });
    afterEach((context) => {
      if (context.task.result?.state === "fail") console.error(mesh?.output);
    });
    afterAll(async () => {
      others?.close();
      await mesh?.stop();
    });
    tests(() => {
      if (mesh === undefined || others === undefined) throw new Error("not started");
      return { gateway: mesh.nodes[0]?.gateway ?? "", mesh, others };
    });
  });
}

async function fails(url: string): Promise<{ readonly status: number; readonly code: unknown }> {
  const response = await fetch(url);
  const body = (await response.json()) as { code?: unknown };
  return { status: response.status, code: body.code };
}

async function endsAlone(
  { gateway, mesh, others }: { gateway: string; mesh: TestMesh; others: Neighbourhood },
  session: string,
  fault: string,
  code: "session_killed" | "session_crashed",
): Promise<void> {
  const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/${session}`);
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("open", resolve));
  const { longestMs } = await others.livesThrough(async () => {
    expect(await fails(`${gateway}/sessions/${session}?fault=${fault}`)).toEqual({ status: 500, code });
    expect(await closed).toBe(1011);
  });
  console.log(`${fault}: longest wait of a neighbour ${Math.round(longestMs)} ms`);
  const line = code === "session_killed" ? `session killed session=${session} ` : `session crashed session=${session} `;
  expect(mesh.output.split(line)).toHaveLength(2);
  expect((await fetch(`${gateway}/sessions/${session}`)).status).toBe(session.startsWith("abrupt") ? 500 : 200);
}

inOneWorker("loops", (world) => {
  for (const fault of ["spin", "catch", "finally", "getter", "regex", "sort", "json", "json-reviver"]) {
    test(`${fault} in a turn of its own ends its session and harms no other`, async () => {
      await endsAlone(world(), `abrupt/${fault}`, fault, "session_killed");
    });
  }
});

inOneWorker("loops behind an await", (world) => {
  for (const fault of [
    "timer-spin",
    "immediate-spin",
    "after-await",
    "after-timer",
    "after-fetch",
    "microtasks",
    "nexttick",
  ]) {
    test(`${fault} ends its session and harms no other`, async () => {
      await endsAlone(world(), `faulty/${fault}`, fault, "session_killed");
    });
  }
});

inOneWorker("floods of memory", (world) => {
  for (const fault of ["objects", "strings", "buffers", "maps", "arrays"]) {
    test(`${fault} ends its session and harms no other`, async () => {
      await endsAlone(world(), `faulty/${fault}`, fault, "session_killed");
    });
  }
});

inOneWorker("other places", (world) => {
  for (const name of ["bad-constructor", "bad-start"]) {
    test(`a spin in ${name.slice(4)} ends its session and harms no other`, async () => {
      const { gateway, others } = world();
      await others.livesThrough(async () => {
        expect(await fails(`${gateway}/sessions/faulty/${name}`)).toEqual({ status: 500, code: "session_killed" });
      });
    });
  }

  test("a spin in a socket's message ends its session with 1011 and harms no other", async () => {
    const { gateway, others } = world();
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/faulty/by-message`);
    await new Promise((resolve) => socket.once("open", resolve));
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    await others.livesThrough(async () => {
      socket.send("spin");
      expect(await closed).toBe(1011);
    });
  });

  test("a spin in the body of a response breaks that response and harms no other", async () => {
    const { gateway, others, mesh } = world();
    await others.livesThrough(async () => {
      const broken = fetch(`${gateway}/sessions/faulty/body?fault=body-spin`).then((response) => response.text());
      await expect(broken).rejects.toThrow();
    });
    expect(mesh.output).toContain("session killed session=faulty/body ");
  });
});

inOneWorker("errors", (world) => {
  for (const fault of [
    "stack",
    "throw",
    "throw-null",
    "throw-undefined",
    "throw-frozen",
    "throw-nasty",
    "reject",
    "stray-rejection",
    "emitter-error",
    "timer-throw",
    "tick-throw",
    "microtask-throw",
    "immediate-throw",
  ]) {
    test(`${fault} ends its session and harms no other`, async () => {
      await endsAlone(world(), `faulty/${fault}`, fault, "session_crashed");
    });
  }
});

inOneWorker("tricks", (world) => {
  test.for<[string, readonly string[], "session_killed" | "session_crashed"]>([
    [
      "the end of the process",
      [
        "exit",
        "named-exit",
        "imported-exit",
        "builtin-exit",
        "caught-exit",
        "timer-exit",
        "listener-exit",
        "really-exit",
        "abort",
      ],
      "session_killed",
    ],
    [
      "signals to the node",
      ["kill-self", "kill-zero", "kill-all", "kill-group", "kill-primary", "kill-primary-group", "hidden-kill"],
      "session_killed",
    ],
    ["the state of the process", ["chdir", "umask", "capture-callback", "binding"], "session_killed"],
    [
      "the channel to the primary",
      [
        "disconnect",
        "send",
        "cluster-kill",
        "cluster-destroy",
        "cluster-disconnect",
        "cluster-send",
        "emit-message",
        "emit-disconnect",
      ],
      "session_killed",
    ],
    [
      "the listeners of the process",
      ["remove-all", "remove-all-faults", "remove-fault-listener", "remove-message-listener"],
      "session_killed",
    ],
    ["the output of all", ["end-stdout", "end-stderr", "destroy-stderr", "pipe-into-stdout"], "session_killed"],
    ["a forged fault", ["emit-uncaught"], "session_crashed"],
    [
      "globals",
      ["assign-timer", "assign-promise", "assign-reflect", "assign-process", "delete-map", "redefine-exit"],
      "session_crashed",
    ],
    [
      "built-in objects",
      [
        "edit-array",
        "extend-array",
        "edit-object",
        "extend-object",
        "edit-promise",
        "edit-map",
        "edit-json",
        "edit-iterator",
        "edit-response",
        "edit-console",
      ],
      "session_crashed",
    ],
  ])("who goes for %s ends alone and nothing comes of it", async ([, tricks, code]) => {
    const { gateway, mesh, others } = world();
    await others.livesThrough(async () => {
      for (const trick of tricks) {
        const url = `${gateway}/sessions/faulty/${trick}`;
        const socket = new WebSocket(url.replace("http", "ws"));
        const closed = once(socket, "close");
        await once(socket, "open");
        expect({ trick, ...(await fails(`${url}?fault=${trick}`)) }).toEqual({ trick, status: 500, code });
        expect((await closed)[0]).toBe(1011);
        const line = `session ${code === "session_killed" ? "killed" : "crashed"} session=faulty/${trick} `;
        // What a worker writes comes later than what it answers.
        await eventually(() => mesh.output.includes(line), 5_000);
        expect(mesh.output.split(line)).toHaveLength(2);
        expect((await fetch(url)).status).toBe(200);
      }
    });
  });

  test("what libraries do to the process in good faith ends nothing and has no effect on others", async () => {
    const { gateway, others } = world();
    const before: unknown = await (await fetch(`${gateway}/sessions/faulty/calm?fault=reads`)).json();
    await others.livesThrough(async () => {
      for (const habit of [
        "on-uncaught",
        "once-rejection",
        "assign-exit",
        "assign-emit",
        "assign-write",
        "exit-code",
        "prepare-stack",
        "listeners",
      ]) {
        const response = await fetch(`${gateway}/sessions/faulty/${habit}?fault=${habit}`);
        expect([habit, response.status, await response.json()]).toEqual([habit, 200, before]);
      }
    });
    // Their faults still end them, and nobody else calls those functions.
    for (const [name, fault, code] of [
      ["on-uncaught", "microtask-throw", "session_crashed"],
      ["once-rejection", "stray-rejection", "session_crashed"],
      ["assign-emit", "tick-throw", "session_crashed"],
      ["another", "exit", "session_killed"],
    ]) {
      expect(await fails(`${gateway}/sessions/faulty/${name}?fault=${fault}`)).toEqual({ status: 500, code });
    }
  });
});
