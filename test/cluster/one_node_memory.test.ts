// One real worker with little memory and many sessions, of which one keeps more and more. It ends before the worker does, and nobody
// else ends.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";

const NEIGHBOURS = 1_000;
/** A leak of a few MB a second needs some seconds from the mark to being found. */
const FOUND_MS = 40_000;
const APP = "test/cluster/memory-app.ts";

interface Answer {
  readonly instance: string;
  readonly pid: number;
}

async function ask(gateway: string, session: string, query = ""): Promise<Answer> {
  const response = await fetch(`${gateway}/sessions/${session}${query}`);
  if (response.status !== 200) throw new Error(`${session} ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}

describe("a session that keeps more and more", () => {
  let mesh: TestMesh | undefined;
  let gateway = "";
  const before = new Map<string, Answer>();
  beforeAll(async () => {
    mesh = await startMesh({
      app: APP,
      nodes: 1,
      workers: 1,
      // Patience enough that a worker is never replaced here.
      env: { MESH_WORKER_MEMORY_MB: "192", MESH_MEMORY_MARK: "50", MESH_MEMORY_PATIENCE_MS: "600000" },
    });
    gateway = mesh.nodes[0]?.gateway ?? "";
    for (let at = 0; at < NEIGHBOURS; at += 50) {
      await Promise.all(
        Array.from({ length: 50 }, async (_, more) => {
          before.set(`neighbour/n${at + more}`, await ask(gateway, `neighbour/n${at + more}`));
        }),
      );
    }
  });
  afterEach((context) => {
    if (context.task.result?.state === "fail") console.error(mesh?.output);
  });
  afterAll(() => mesh?.stop());

  /** Neighbours are asked all the time; none of them may end. */
  async function livesThrough(leak: () => Promise<void>): Promise<void> {
    let going = true;
    const churn = (async () => {
      for (let at = 0; going; at = (at + 8) % NEIGHBOURS) {
        await Promise.all(Array.from({ length: 8 }, (_, more) => ask(gateway, `neighbour/n${at + more}`)));
      }
    })();
    try {
      await leak();
    } finally {
      going = false;
      await churn;
    }
    for (const [session, answer] of before) expect(await ask(gateway, session)).toEqual(answer);
  }

  function killsOf(session: string): number {
    return (mesh?.output ?? "").split(`session killed session=${session} reason="memory leak"`).length - 1;
  }

  test.for(["objects", "map", "hidden", "texts", "buffers"])(
    "with each request, as %s, ends alone and is named",
    async (how) => {
      const session = `leaky/${how}`;
      await ask(gateway, session);
      await livesThrough(async () => {
        const endMs = performance.now() + FOUND_MS;
        let status = 200;
        while (status === 200 && performance.now() < endMs) {
          const response = await fetch(`${gateway}/sessions/${session}?how=${how}`);
          ({ status } = response);
          const text = await response.text();
          if (status !== 200) expect(text).toContain("session_killed");
          if (killsOf(session) > 0) break;
        }
      });
      await eventually(() => killsOf(session) === 1, 1_000);
      // The name may be used again.
      await ask(gateway, session);
    },
  );

  test("with each tick of a timer ends alone, and its timer with it", async () => {
    await livesThrough(async () => {
      await ask(gateway, "leaky/timer", "?how=timer");
      await eventually(() => killsOf("leaky/timer") === 1, FOUND_MS);
    });
  });

  test("with each message of a socket ends with 1011", async () => {
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/leaky/socket`);
    await new Promise((resolve) => socket.once("open", resolve));
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    await livesThrough(async () => {
      const talk = setInterval(() => socket.send("more"), 5);
      try {
        await eventually(() => killsOf("leaky/socket") === 1, FOUND_MS);
      } finally {
        clearInterval(talk);
      }
    });
    expect(await closed).toBe(1011);
  });

  test("and one that holds much but does not grow lives on beside it", async () => {
    const large = await ask(gateway, "leaky/large", `?how=blob&bytes=${30 * 1024 * 1024}`);
    await livesThrough(async () => {
      await ask(gateway, "leaky/beside", "?how=timer");
      await eventually(() => killsOf("leaky/beside") === 1, FOUND_MS);
    });
    expect(await ask(gateway, "leaky/large")).toEqual(large);
    expect(mesh?.output).not.toContain("will be replaced");
    expect(mesh?.output).not.toContain("a worker died");
    expect(mesh?.output.split("session killed").length).toBe(9);
  });
});
