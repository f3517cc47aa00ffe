// One real worker with many sessions, of which one goes wrong in each test. The culprit ends and is named; the others lose nothing:
// no state, no answer, no message, no timer.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { builtIns } from "../../examples/faults/kinds/built-ins.ts";
import { endless } from "../../examples/faults/kinds/endless.ts";
import { errors } from "../../examples/faults/kinds/errors.ts";
import { habits } from "../../examples/faults/kinds/habits.ts";
import { memory } from "../../examples/faults/kinds/memory.ts";
import { processFaults } from "../../examples/faults/kinds/process.ts";
import { mainThreadCpuMs } from "./cpu.ts";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";

/** Neighbours with state and a timer; a part of them has a request or a socket in use at the moment of the fault. */
const NEIGHBOURS = 1_000;
const SOCKETS = 20;
/** What users get who set nothing: the longest that a session which holds its worker delays others. */
const BUDGET_MS = 1_000;
/** Requests that are under way when the fault strikes, of each kind. */
const EACH = 8;
const AWAITS = ["promise", "timers", "immediates", "stub", "stream"] as const;
/** Requests of this test that are open at once. */
const CONCURRENCY = 20;

interface Answer {
  readonly count: number;
  readonly ticks: number;
  readonly waiting: number;
  readonly instance: string;
  readonly pid: number;
  /** What has changed for all of the process. */
  readonly changed?: readonly string[];
}

class Neighbourhood {
  readonly #gateway: string;
  readonly #before = new Map<string, Answer>();
  readonly #sockets: { readonly socket: WebSocket; readonly received: string[]; sent: number }[] = [];

  constructor(gateway: string) {
    this.#gateway = gateway;
  }

  async settle(): Promise<void> {
    await forEach(
      Array.from({ length: NEIGHBOURS }, (_, at) => `n${at}`),
      async (name) => {
        this.#before.set(name, await this.ask(name));
      },
    );
    for (let at = 0; at < SOCKETS; at++) {
      const socket = new WebSocket(`${this.#gateway.replace("http", "ws")}/sessions/neighbour/n${at}`);
      const received: string[] = [];
      socket.on("message", (data: Buffer) => received.push(data.toString()));
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
      this.#sockets.push({ socket, received, sent: 0 });
    }
  }

  /** Without a path it counts. */
  async ask(name: string, rest = ""): Promise<Answer> {
    const response = await fetch(`${this.#gateway}/sessions/neighbour/${name}${rest}`);
    expect([name, response.status]).toEqual([name, 200]);
    return (await response.json()) as Answer;
  }

  /** What is under way while `fault` happens, and that all of it comes to a good end. */
  async livesThrough(
    fault: () => Promise<void>,
  ): Promise<{ readonly longestMs: number; /** Of a CPU, that the worker got. */ readonly share: number }> {
    const asked = new Map<string, number>();
    const waiting = AWAITS.flatMap((how, kind) =>
      Array.from({ length: EACH }, (_, at) => {
        const name = `n${kind * EACH + at + SOCKETS}`;
        return { name, answer: this.#waits(name, how) };
      }),
    );
    // Looked at below, whatever the fault does meanwhile.
    const answered = Promise.allSettled(waiting.map(({ answer }) => answer));
    for (const { name } of waiting) {
      await eventually(async () => (await this.ask(name, "/look")).waiting === 1, 5_000);
    }
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
    const { pid } = await this.ask("n0", "/look");
    const sinceMs = performance.now();
    const sinceCpuMs = mainThreadCpuMs(pid);
    let share = 1;
    try {
      await fault();
      share = Math.min(1, (mainThreadCpuMs(pid) - sinceCpuMs) / (performance.now() - sinceMs));
    } finally {
      await Promise.all(waiting.map(({ name }) => this.ask(name, "/go")));
      await answered;
      watching = false;
      clearInterval(talk);
      await watch;
    }
    await Promise.all(waiting.map(({ answer }) => answer));
    await eventually(() => this.#sockets.every(({ sent, received }) => received.length === sent), 5_000);
    for (const { received } of this.#sockets) expect(received).toEqual(received.map((_, at) => String(at)));
    await this.#check(asked);
    return { longestMs, share };
  }

  /** A request that is under way until the session is told to go on. */
  async #waits(name: string, how: (typeof AWAITS)[number]): Promise<void> {
    const response = await fetch(`${this.#gateway}/sessions/neighbour/${name}/wait/${how}`);
    expect([how, response.status]).toEqual([how, 200]);
    const text = await response.text();
    if (how === "stream") expect(text).toMatch(/^x+$/);
    else expect((JSON.parse(text) as Answer).instance).toBe(this.#before.get(name)?.instance);
  }

  async #check(asked: ReadonlyMap<string, number>): Promise<void> {
    await forEach([...this.#before], async ([name, before]) => {
      // The timer may be due only now.
      const now = await eventually(async () => {
        const look = await this.ask(name, "/look");
        return look.ticks > before.ticks && look;
      }, 5_000);
      const { instance, count, changed } = now;
      const expected = { instance: before.instance, count: before.count + (asked.get(name) ?? 0), changed: [] };
      expect({ name, instance, count, changed }).toEqual({ name, ...expected });
      this.#before.set(name, now);
    });
  }

  close(): void {
    for (const { socket } of this.#sockets) socket.terminate();
  }
}

async function forEach<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = all.values();
  const next = async (): Promise<void> => {
    for (const one of left) await work(one);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, next));
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
        app: "examples/faults/app.ts",
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
): Promise<{ readonly longestMs: number; readonly share: number }> {
  const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/${session}`);
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("open", resolve));
  const waits = await others.livesThrough(async () => {
    expect(await fails(`${gateway}/sessions/${session}/fault/${fault}`)).toEqual({ status: 500, code });
    expect(await closed).toBe(1011);
  });
  console.log(`${fault}: longest wait of a neighbour ${Math.round(waits.longestMs)} ms`);
  const line = code === "session_killed" ? `session killed session=${session} ` : `session crashed session=${session} `;
  expect(mesh.output.split(line)).toHaveLength(2);
  expect((await fetch(`${gateway}/sessions/${session}`)).status).toBe(200);
  return waits;
}

/** The whole of it: finding the turn, stopping it, and serving all who waited. Time in which other programs had the CPU is not ours. */
async function delaysForLessThanTheBudget(world: Parameters<typeof endsAlone>[0], fault: string): Promise<void> {
  const { longestMs, share } = await endsAlone(world, `fault/${fault}`, fault, "session_killed");
  expect(longestMs * share).toBeLessThan(BUDGET_MS);
}

const BEHIND_AN_AWAIT = [
  "timer-spin",
  "immediate-spin",
  "immediates-spin",
  "after-await",
  "after-timer",
  "after-fetch",
  "microtasks",
  "nexttick",
];

inOneWorker("loops", (world) => {
  test.each(Object.keys(endless).filter((fault) => !BEHIND_AN_AWAIT.includes(fault)))(
    "%s in a turn of its own ends its session within the turn budget and harms no other",
    (fault) => delaysForLessThanTheBudget(world(), fault),
  );
});

inOneWorker("loops behind an await", (world) => {
  test.each(BEHIND_AN_AWAIT)("%s ends its session within the turn budget and harms no other", (fault) =>
    delaysForLessThanTheBudget(world(), fault),
  );
});

inOneWorker("floods of memory", (world) => {
  test.each(Object.keys(memory).filter((fault) => !fault.startsWith("leak")))(
    "%s ends its session and harms no other",
    async (fault) => {
      await endsAlone(world(), `fault/${fault}`, fault, "session_killed");
    },
  );
});

inOneWorker("other places", (world) => {
  for (const name of ["bad-constructor", "bad-start"]) {
    test(`a spin in ${name.slice(4)} ends its session and harms no other`, async () => {
      const { gateway, others } = world();
      await others.livesThrough(async () => {
        expect(await fails(`${gateway}/sessions/fault/${name}`)).toEqual({ status: 500, code: "session_killed" });
      });
    });
  }

  test("a spin in a socket's message ends its session with 1011 and harms no other", async () => {
    const { gateway, others } = world();
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/fault/by-message`);
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
      const broken = fetch(`${gateway}/sessions/fault/body/fault/body-spin`).then((response) => response.text());
      await expect(broken).rejects.toThrow();
    });
    expect(mesh.output).toContain("session killed session=fault/body ");
  });
});

inOneWorker("errors", (world) => {
  test.each(Object.keys(errors))("%s ends its session and harms no other", async (fault) => {
    await endsAlone(world(), `fault/${fault}`, fault, "session_crashed");
  });
});

inOneWorker("tricks", (world) => {
  const edits = Object.keys(builtIns);
  const groups: Record<string, readonly string[]> = Object.groupBy(
    Object.keys(processFaults).filter((fault) => fault !== "emit-uncaught"),
    (fault) => (fault.includes("kill") ? "signals to the node" : "the process"),
  );
  test.for<[string, readonly string[], "session_killed" | "session_crashed"]>([
    ["the process", groups["the process"] ?? [], "session_killed"],
    ["signals to the node", groups["signals to the node"] ?? [], "session_killed"],
    ["a forged fault", ["emit-uncaught"], "session_crashed"],
    ["what is shared", edits, "session_crashed"],
  ])("who goes for %s ends alone and nothing comes of it", async ([, tricks, code]) => {
    const { gateway, mesh, others } = world();
    await others.livesThrough(async () => {
      for (const trick of tricks) {
        const url = `${gateway}/sessions/fault/${trick}`;
        const socket = new WebSocket(url.replace("http", "ws"));
        const closed = once(socket, "close");
        await once(socket, "open");
        expect({ trick, ...(await fails(`${url}/fault/${trick}`)) }).toEqual({ trick, status: 500, code });
        expect((await closed)[0]).toBe(1011);
        const line = `session ${code === "session_killed" ? "killed" : "crashed"} session=fault/${trick} `;
        // What a worker writes comes later than what it answers.
        await eventually(() => mesh.output.includes(line), 5_000);
        expect(mesh.output.split(line)).toHaveLength(2);
        expect((await fetch(url)).status).toBe(200);
      }
    });
  });

  test("what libraries do to the process in good faith ends nothing and has no effect on others", async () => {
    const { gateway, others } = world();
    await others.livesThrough(async () => {
      for (const habit of Object.keys(habits)) {
        const response = await fetch(`${gateway}/sessions/fault/${habit}/fault/${habit}`);
        expect([habit, response.status]).toEqual([habit, 200]);
      }
    });
    // Their faults still end them, and nobody else calls those functions.
    for (const [name, fault, code] of [
      ["uncaught-listener", "microtask-throw", "session_crashed"],
      ["rejection-listener", "stray-rejection", "session_crashed"],
      ["assign-emit", "tick-throw", "session_crashed"],
      ["another", "exit", "session_killed"],
    ]) {
      expect(await fails(`${gateway}/sessions/fault/${name}/fault/${fault}`)).toEqual({ status: 500, code });
    }
  });
});
