import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MeshError, compareFences, workerIdOf, type View } from "#proto";
import { RouterMesh, callOf, seeded } from "./router-mesh.ts";
import { viewOf, type NodeSketch } from "./views.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Runs virtual time until `work` is settled. */
async function settle<T>(work: Promise<T>): Promise<T> {
  let done = false;
  const tracked = work.finally(() => (done = true));
  tracked.catch(() => {});
  while (!done) await vi.advanceTimersByTimeAsync(5);
  return tracked;
}

function threeNodes(): { mesh: RouterMesh; view: View } {
  const mesh = new RouterMesh(seeded(1));
  const view = viewOf(
    1,
    ["n1", "n2", "n3"].map((id) => ({ id, workers: ["a", "b"] })),
  );
  for (const node of ["n1", "n2", "n3"]) {
    mesh.start(node, 0, "a");
    mesh.start(node, 1, "b");
  }
  mesh.deliver(view);
  return { mesh, view };
}

describe("a mesh of routers", () => {
  test("serves a thousand first requests for one name, through all workers at once, from one server", async () => {
    const { mesh } = threeNodes();
    const workers = [...mesh.workers.values()];
    const replies = await settle(
      Promise.all(Array.from({ length: 1_000 }, (_, at) => workers[at % workers.length]!.request("counter/alice"))),
    );
    expect(mesh.activations).toHaveLength(1);
    const counts = replies.map((reply) => Number(reply.split("@")[0])).sort((a, b) => a - b);
    expect(counts).toEqual(Array.from({ length: 1_000 }, (_, at) => at + 1));
  });

  test("reaches a session in at most one hop after the first request", async () => {
    const { mesh } = threeNodes();
    const workers = [...mesh.workers.values()];
    await settle(Promise.all(workers.map((worker) => worker.request("counter/bob"))));
    const before = workers.map((worker) => worker.hops);
    await settle(Promise.all(workers.map((worker) => worker.request("counter/bob"))));
    expect(workers.every((worker, at) => worker.hops - before[at]! <= 1)).toBe(true);
  });

  test("places a spread session away from its owner once, however many ask", async () => {
    const mesh = new RouterMesh(seeded(3));
    const wish = { policy: "spread", labels: {} } as const;
    for (const node of ["n1", "n2", "n3"]) mesh.start(node, 0, "a", wish);
    mesh.deliver(
      viewOf(
        1,
        ["n1", "n2", "n3"].map((id) => ({ id, workers: ["a"] })),
      ),
    );
    const workers = [...mesh.workers.values()];
    const names = Array.from({ length: 20 }, (_, at) => `room/${at}`);
    await settle(Promise.all(names.flatMap((name) => workers.map((worker) => worker.request(name)))));
    expect(mesh.activations).toHaveLength(20);
    expect(mesh.doubles).toEqual([]);
  });

  test("starts nothing on a worker that is full, and asks it for nothing", async () => {
    const mesh = new RouterMesh(seeded(5));
    const wish = { policy: "spread", labels: {} } as const;
    for (const node of ["n1", "n2", "n3"]) mesh.start(node, 0, "a", wish);
    mesh.deliver(
      viewOf(
        1,
        ["n1", "n2", "n3"].map((id) => ({ id, workers: ["a"] })),
      ),
    );
    // By its other figures the full one is the best choice.
    const load = { index: 0, sessions: 5_000, utilisation: 0.5, rssBytes: 1, lagMs: 0 };
    const loads = new Map([
      ["n1", [load]],
      ["n2", [{ ...load, sessions: 0, utilisation: 0, full: true }]],
      ["n3", [load]],
    ]);
    const workers = [...mesh.workers.values()];
    for (const { router } of workers) router.loadsChanged(loads);
    const names = Array.from({ length: 30 }, (_, at) => `room/${at}`);
    await settle(Promise.all(names.map((name) => workers[0]!.request(name))));
    expect(mesh.activations).toHaveLength(30);
    expect(mesh.activations.filter(({ worker }) => worker.startsWith("n2"))).toEqual([]);
  });

  test("puts a session only where its labels are", async () => {
    const mesh = new RouterMesh(seeded(4));
    const wish = { policy: "owner-first", labels: { gpu: "yes" } } as const;
    for (const node of ["n1", "n2", "n3"]) mesh.start(node, 0, "a", wish);
    mesh.deliver(
      viewOf(1, [
        { id: "n1", workers: ["a"] },
        { id: "n2", workers: ["a"], labels: { gpu: "yes" } },
        { id: "n3", workers: ["a"] },
      ]),
    );
    const workers = [...mesh.workers.values()];
    await settle(Promise.all(Array.from({ length: 30 }, (_, at) => workers[at % 3]!.request(`job/${at}`))));
    expect(new Set(mesh.activations.map((activation) => activation.worker))).toEqual(new Set(["n2/0@a"]));
  });

  test("passes on at once that the chosen host refuses to start a session that keeps crashing", async () => {
    const mesh = new RouterMesh(seeded(5));
    const wish = { policy: "owner-first", labels: { gpu: "yes" } } as const;
    const [asked, crashing] = ["n1", "n2"].map((node) => mesh.start(node, 0, "a", wish));
    crashing!.refusal = new MeshError("overloaded", "it crashed too often", { retryAfterMs: 2_000 });
    mesh.deliver(
      viewOf(1, [
        { id: "n1", workers: ["a"] },
        { id: "n2", workers: ["a"], labels: { gpu: "yes" } },
      ]),
    );
    const began = performance.now();
    await expect(settle(asked!.request("job/1"))).rejects.toMatchObject({ code: "overloaded", retryAfterMs: 2_000 });
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  test("starts no session for what its class never answers, through any worker", async () => {
    const { mesh } = threeNodes();
    const client = { send: () => {}, buffered: 0, close: () => {} };
    for (const [at, worker] of [...mesh.workers.values()].entries()) {
      await expect(settle(worker.request(`deaf/${at}`))).rejects.toMatchObject({ code: "not_found" });
      const reply = await settle(worker.router.connect(callOf(`deaf/${at}`), client));
      expect(reply).toMatchObject({ status: "refused", error: { code: "bad_upgrade" } });
    }
    expect(mesh.activations).toEqual([]);
  });

  test("never creates for a caller that wants only an active session", async () => {
    const { mesh } = threeNodes();
    const [worker] = mesh.workers.values();
    await expect(settle(worker!.request("counter/nobody", { onlyIfActive: true }))).rejects.toMatchObject({
      code: "not_active",
    });
    expect(mesh.activations).toEqual([]);
  });

  test("answers no_host in bounded time when there is nobody to host", async () => {
    const mesh = new RouterMesh(seeded(1));
    const worker = mesh.start("g1", 0, "a");
    mesh.deliver(viewOf(1, [{ id: "g1", workers: ["a"], role: "gateway" }]));
    await expect(settle(worker.request("counter/alice"))).rejects.toMatchObject({ code: "no_host", retryable: true });
  });

  test("keeps every session where it is when a node joins, and asks nobody twice to start it", async () => {
    const { mesh } = threeNodes();
    const names = Array.from({ length: 100 }, (_, at) => `counter/${at}`);
    const [first] = mesh.workers.values();
    await settle(Promise.all(names.map((name) => first!.request(name))));
    mesh.start("n4", 0, "a");
    mesh.deliver(
      viewOf(
        2,
        ["n1", "n2", "n3"].map((id): NodeSketch => ({ id, workers: ["a", "b"] })).concat({ id: "n4", workers: ["a"] }),
      ),
    );
    const replies = await settle(
      Promise.all([...mesh.workers.values()].flatMap((worker) => names.map((name) => worker.request(name)))),
    );
    expect(mesh.activations).toHaveLength(100);
    expect(replies).toHaveLength(700);
  });

  test("loses with a killed worker only what it hosted", async () => {
    const { mesh } = threeNodes();
    const workers = [...mesh.workers.values()];
    const names = Array.from({ length: 120 }, (_, at) => `counter/${at}`);
    await settle(Promise.all(names.map((name) => workers[0]!.request(name))));
    const lost = mesh.kill(workers[5]!.id);
    mesh.deliver(
      viewOf(2, [
        { id: "n1", workers: ["a", "b"] },
        { id: "n2", workers: ["a", "b"] },
        { id: "n3", workers: ["a"] },
      ]),
    );
    const replies = await settle(Promise.all(names.map((name) => workers[1]!.request(name))));
    const anew = names.filter((_, at) => replies[at]!.startsWith("1@"));
    expect(lost.length).toBeGreaterThan(0);
    expect(anew.sort()).toEqual(lost.sort());
  });

  test("asks the next owner as soon as the view lacks one that does not answer, without a pause", async () => {
    const { mesh } = threeNodes();
    // It gains no partition, so nothing else tells it to look again.
    const gateway = mesh.start("g", 0, "a");
    const nodes: NodeSketch[] = [{ id: "g", workers: ["a"], role: "gateway" }];
    for (const id of ["n1", "n2", "n3"]) nodes.push({ id, workers: ["a", "b"] });
    mesh.deliver(viewOf(2, nodes));
    const names = Array.from({ length: 60 }, (_, at) => `counter/${at}`);
    await settle(Promise.all(names.map((name) => gateway.request(name))));
    for (const id of [...mesh.workers.keys()].filter((worker) => worker.startsWith("n3/"))) {
      mesh.dark.add(id);
      mesh.kill(id);
    }
    const asked = performance.now();
    const answers = Promise.all(names.map((name) => gateway.request(name)));
    await vi.advanceTimersByTimeAsync(400);
    mesh.deliver(viewOf(3, nodes.slice(0, 3)));
    await settle(answers);
    // What is above 400 are questions between the workers that are left.
    expect(performance.now() - asked).toBeLessThan(450);
  });

  test("lets a draining worker keep its sessions and start none", async () => {
    const { mesh } = threeNodes();
    const workers = [...mesh.workers.values()];
    const names = Array.from({ length: 60 }, (_, at) => `counter/${at}`);
    await settle(Promise.all(names.map((name) => workers[0]!.request(name))));
    for (const worker of workers.slice(0, 2)) worker.accepting = false;
    mesh.deliver(
      viewOf(2, [
        { id: "n1", workers: ["a", "b"], state: "draining" },
        { id: "n2", workers: ["a", "b"] },
        { id: "n3", workers: ["a", "b"] },
      ]),
    );
    await settle(
      Promise.all([...names, "counter/new1", "counter/new2", "counter/new3"].map((name) => workers[3]!.request(name))),
    );
    expect(mesh.activations).toHaveLength(63);
    expect(mesh.activations.slice(60).every((activation) => !activation.worker.startsWith("n1/"))).toBe(true);
  });

  test("makes names of its own that it serves itself", async () => {
    const { mesh } = threeNodes();
    await vi.advanceTimersByTimeAsync(100);
    const [worker] = mesh.workers.values();
    const id = worker!.router.createName("cart");
    await settle(worker!.request(id.key));
    expect(worker!.hosted.has(id.key)).toBe(true);
    expect(Buffer.from(id.name, "base64url")).toHaveLength(16);
  });

  test("asks another worker of a node when the first is gone or hangs, and still takes what the first one says late", async () => {
    const { mesh } = threeNodes();
    const asker = mesh.workers.get(workerIdOf("n1", { index: 0, incarnation: "a" }))!;
    const asked = [...mesh.workers.values()].filter(({ id }) => id.startsWith("n2/"));
    const ask = (): Promise<string> => settle(asker.router.askContact("n2", { node: "n1", incarnation: "a" }, 1_000));
    const answerAfter = async (ms: number): Promise<boolean> => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return true;
    };
    for (const worker of asked) worker.contact = () => answerAfter(900);
    expect(await ask()).toBe("promised");
    for (const [first, second] of [asked, asked.toReversed()]) {
      first!.contact = () => new Promise(() => {});
      second!.contact = () => answerAfter(100);
      expect(await ask()).toBe("promised");
    }
    for (const worker of asked) worker.contact = async () => true;
    mesh.kill(asked[0]!.id);
    for (let times = 0; times < 8; times++) expect(await ask()).toBe("promised");
    mesh.kill(asked[1]!.id);
    expect(await ask()).toBe("unknown");
  });

  test("says no_host, not a wrong host, to a peer whose view it has not got", async () => {
    const { mesh, view } = threeNodes();
    await vi.advanceTimersByTimeAsync(100);
    const late = mesh.start("n4", 0, "a");
    const next = viewOf(2, [
      ...view.nodes.map((node): NodeSketch => ({ id: node.id, workers: ["a", "b"] })),
      { id: "n4", workers: ["a"] },
    ]);
    mesh.deliver(next, [late.id]);
    for (const worker of mesh.workers.values()) worker.latest = next;
    await expect(settle(late.request("counter/alice"))).resolves.toMatch(/^1@/);
  });
});

const ROOMS = 40;

// Views reach every worker at its own time, some are skipped, workers die and join, sessions end, requests come from everywhere.
describe.each(Array.from({ length: 30 }, (_, seed) => seed))("under random change, seed %i", (seed) => {
  test("no session ever has two servers, tokens rise, and all names work again at the end", async () => {
    const random = seeded(seed);
    const mesh = new RouterMesh(random);
    mesh.delayMs = 120;
    const wish = { policy: seed % 2 === 0 ? "owner-first" : "spread", labels: {} } as const;
    const alive = new Map<string, string>();
    const draw = (below: number) => Math.floor(random() * below);
    let view = viewOf(0, []);
    let lives = 0;
    const publish = (): void => {
      view = viewOf(
        view.epoch + 1,
        [...alive].map(([id, incarnation]) => ({ id, workers: [incarnation] })),
      );
      const published = view;
      for (const worker of mesh.workers.values()) {
        // One in five never hears of it, unless it asks or a later view comes.
        if (random() < 0.2) continue;
        setTimeout(() => worker.router.viewChanged(published), draw(150));
      }
      setTimeout(() => mesh.workers.forEach((worker) => (worker.latest = published)), draw(150));
    };
    const join = (): void => {
      const id = `n${draw(6)}`;
      if (alive.has(id)) return;
      alive.set(id, `i${++lives}`);
      mesh.start(id, 0, `i${lives}`, wish);
      publish();
    };
    const die = (): void => {
      if (alive.size < 2) return;
      const [id, incarnation] = [...alive][draw(alive.size)]!;
      alive.delete(id);
      mesh.kill([...mesh.workers.keys()].find((worker) => worker === `${id}/0@${incarnation}`)!);
      setTimeout(publish, draw(100));
    };
    const requests: Promise<unknown>[] = [];
    join();
    join();
    for (let step = 0; step < 200; step++) {
      const dice = random();
      const workers = [...mesh.workers.values()];
      const worker = workers[draw(workers.length)]!;
      if (dice < 0.04) join();
      else if (dice < 0.08) die();
      else if (dice < 0.4) for (const key of [...worker.hosted.keys()].slice(0, 8)) worker.end(key);
      else {
        for (let at = 0; at < 8; at++) {
          requests.push(
            worker.request(`room/${draw(ROOMS)}`).catch((error: unknown) => {
              if (!(error instanceof MeshError)) throw error;
            }),
          );
        }
      }
      await vi.advanceTimersByTimeAsync(draw(30));
    }
    publish();
    await vi.advanceTimersByTimeAsync(200);
    mesh.deliver(view);
    await settle(Promise.all(requests));
    expect(mesh.doubles).toEqual([]);
    for (const key of new Set(mesh.activations.map((activation) => activation.key))) {
      const fences = mesh.activations
        .filter((activation) => activation.key === key)
        .map((activation) => activation.fence);
      for (let at = 1; at < fences.length; at++) expect(compareFences(fences[at]!, fences[at - 1]!)).toBeGreaterThan(0);
    }
    const replies = await settle(
      Promise.all(
        [...mesh.workers.values()].flatMap((worker) =>
          Array.from({ length: ROOMS }, (_, at) => worker.request(`room/${at}`)),
        ),
      ),
    );
    expect(replies).toHaveLength(mesh.workers.size * ROOMS);
    expect(mesh.doubles).toEqual([]);
  });
});
