// One real worker with little memory and many sessions, of which one keeps more and more. It ends before the worker does, and nobody
// else ends.

import { afterAll, afterEach, beforeAll, describe, expect, onTestFailed, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "./eventually.ts";
import { startMesh, type TestMesh } from "./mesh-up.ts";
import { workerPids } from "./test-mesh.ts";

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

  test.for(["timer", "closure"])("with each tick of a timer, as %s, ends alone, and its timer with it", async (how) => {
    await livesThrough(async () => {
      await ask(gateway, `leaky/${how}`, `?how=${how}`);
      await eventually(() => killsOf(`leaky/${how}`) === 1, FOUND_MS);
    });
  });

  // Where nobody can look into: by what others have not made, or what is left of what it makes.
  test.for(["local", "local-buffers"])(
    "in a variable of a function that waits, as %s, ends alone, and its request with it",
    { timeout: 3 * FOUND_MS },
    async (how) => {
      await livesThrough(async () => {
        const answer = fetch(`${gateway}/sessions/leaky/${how}?how=${how}`).then((response) => response.text());
        await eventually(() => killsOf(`leaky/${how}`) === 1, 2 * FOUND_MS);
        // Where the request has not run into its time limit before.
        expect(await answer).toMatch(/session_killed|timeout/);
      });
      await ask(gateway, `leaky/${how}`);
    },
  );

  test("so fast that its worker would be gone in two seconds ends alone", async () => {
    await livesThrough(async () => {
      await ask(gateway, "leaky/fast", "?how=fast");
      await eventually(() => killsOf("leaky/fast") === 1, FOUND_MS);
    });
  });

  test("with each message of a socket ends with 1011", async () => {
    const socket = new WebSocket(`${gateway.replace("http", "ws")}/sessions/leaky/socket`);
    await new Promise((resolve) => socket.once("open", resolve));
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    await livesThrough(async () => {
      const talk = setInterval(() => socket.send("more"), 25);
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
    expect(mesh?.output.split("session killed").length).toBe(13);
  });
});

describe("memory that is nobody's", () => {
  async function twoWorkers(patienceMs: number): Promise<{ mesh: TestMesh; gateway: string }> {
    const mesh = await startMesh({
      app: APP,
      nodes: 1,
      workers: 2,
      env: {
        MESH_WORKER_MEMORY_MB: "128",
        MESH_MEMORY_MARK: "50",
        MESH_MEMORY_PATIENCE_MS: String(patienceMs),
      },
    });
    onTestFailed(() => console.error(mesh.output));
    onTestFinished(() => mesh.stop());
    return { mesh, gateway: mesh.nodes[0]?.gateway ?? "" };
  }

  /** In the worker of that session, outside of any session. */
  async function fill(mesh: TestMesh, gateway: string): Promise<void> {
    for (let at = 0; at < 2_000 && !mesh.output.includes("takes no new sessions"); at++) {
      await ask(gateway, "leaky/hoarder", "?how=hoard");
    }
    expect(mesh.output).toContain("it takes no new sessions");
  }

  test("closes a worker to new sessions, ends idle ones in order, and opens it again when it is gone", async () => {
    const { mesh, gateway } = await twoWorkers(600_000);
    const { pid } = await ask(gateway, "leaky/hoarder");
    const idle = await Promise.all(Array.from({ length: 40 }, (_, at) => ask(gateway, `idle/i${at}`)));
    const own = idle.filter((answer) => answer.pid === pid).length;
    expect(own).toBeGreaterThan(0);
    await fill(mesh, gateway);
    const placed = await Promise.all(Array.from({ length: 40 }, (_, at) => ask(gateway, `neighbour/n${at}`)));
    expect(placed.filter((answer) => answer.pid === pid)).toEqual([]);
    // Those of the other worker stay.
    await eventually(() => mesh.output.split("stopped in order").length - 1 === own, 10_000);
    const hoarder = await ask(gateway, "leaky/hoarder", "?how=forget");
    await eventually(() => mesh.output.includes("this worker has memory again"), 20_000);
    await eventually(async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, at) => ask(gateway, `neighbour/later${at}-${Math.random()}`)),
      );
      return answers.some((answer) => answer.pid === pid);
    }, 10_000);
    expect(await ask(gateway, "leaky/hoarder")).toEqual(hoarder);
    expect(mesh.output).not.toContain("session killed");
  });

  test("is not looked for when one session holds a quarter of it: that one ends, and nobody else", async () => {
    const { mesh, gateway } = await twoWorkers(1_000);
    const others = new Map<string, Answer>();
    for (let at = 0; at < 40; at++) others.set(`neighbour/n${at}`, await ask(gateway, `neighbour/n${at}`));
    // More than the mark at once, and nothing after that.
    const { instance } = await ask(gateway, "leaky/large", `?how=blob&bytes=${72 * 1024 * 1024}`);
    // It takes full collections to see that it is not garbage, so there must be some traffic.
    await eventually(async () => {
      await Promise.all([...others.keys()].map((session) => ask(gateway, session)));
      return mesh.output.includes('session killed session=leaky/large reason="memory share"');
    }, 40_000);
    expect((await ask(gateway, "leaky/large")).instance).not.toBe(instance);
    for (const [session, answer] of others) expect(await ask(gateway, session)).toEqual(answer);
    expect(mesh.output.split("session killed")).toHaveLength(2);
    expect(mesh.output).not.toContain("will be replaced");
  });

  test("replaces a worker that stays full, and leaves the other one alone", async () => {
    const { mesh, gateway } = await twoWorkers(2_000);
    const { pid } = await ask(gateway, "leaky/hoarder");
    const others = new Map<string, Answer>();
    for (let at = 0; at < 40; at++) {
      const answer = await ask(gateway, `neighbour/n${at}`);
      if (answer.pid !== pid) others.set(`neighbour/n${at}`, answer);
    }
    expect(others.size).toBeGreaterThan(0);
    await fill(mesh, gateway);
    await eventually(() => mesh.output.includes("no session is to blame; it will be replaced"), 20_000);
    // Its sessions have 30 s to end by themselves.
    await eventually(async () => !(await workerPids(mesh, "n1")).includes(pid), 45_000);
    await eventually(async () => (await ask(gateway, "leaky/hoarder")).pid !== pid, 20_000);
    for (const [session, answer] of others) expect(await ask(gateway, session)).toEqual(answer);
  }, 120_000);
});
