// What only a session with a thread or a process of its own can do to itself, and what its neighbours notice of it: nothing.

import { describe, expect, test } from "vitest";
import { World, callTo, eventually, isGone } from "./world.ts";

describe.each(["thread", "process"])("a session of isolation %s", (kind) => {
  const a = `${kind}/a`;

  test("delays nobody while it computes", async () => {
    const world = World.open();
    await Promise.all([world.text(a), world.text(`${kind}/b`), world.text("shared/c")]);
    let computing = true;
    const computed = world.text(a, "/compute?ms=800").finally(() => (computing = false));
    let answers = 0;
    while (computing) {
      await Promise.all([world.text(`${kind}/b`), world.text("shared/c")]);
      answers++;
    }
    expect(await computed).toBe("computed");
    // One would be what a neighbour gets that has to wait.
    expect(answers).toBeGreaterThan(20);
  });

  test.each(["/spin", "/microtasks"])("is ended by force when %s takes a turn too long", async (path) => {
    const world = World.open();
    const { client } = await world.connect(a);
    const error = await world.error(a, path);
    expect(error).toMatchObject({ code: "session_killed", session: a });
    expect(error.message).toMatch(/^the session was ended by force: turn budget, in a turn of \d+ ms$/);
    expect(client.closed).toEqual({ code: 1011, reason: "session killed" });
    expect(world.reasons(a)).toEqual(["killed"]);
    expect(world.lines.join()).toContain(
      `session killed {"session":"${a}","isolation":"${kind}","reason":"turn budget"`,
    );
    expect(await world.json(a)).toMatchObject({ count: 1 });
  });

  test("is ended by force when a message of a socket takes a turn too long", async () => {
    const world = World.open();
    const { client, end } = await world.connect(a);
    void end.message("spin");
    await eventually(() => client.closed);
    expect(client.closed).toEqual({ code: 1011, reason: "session killed" });
  });

  test("is ended by force when its heap is full", async () => {
    const world = World.open();
    await world.text("shared/c");
    expect(await world.error(a, "/objects")).toMatchObject({
      code: "session_killed",
      message: "the session was ended by force: its heap reached 64 MB",
    });
    expect(await world.json("shared/c")).toMatchObject({ count: 2 });
  });

  test.each(kind === "thread" ? ["/exit", "/kill-self", "/kill-worker"] : ["/kill-worker"])(
    "is ended when it tries %s, and nobody else is",
    async (path) => {
      const world = World.open();
      await world.text("shared/c");
      expect(await world.error(a, path)).toMatchObject({ code: "session_killed" });
      expect(world.reasons(a)).toEqual(["killed"]);
      expect(await world.json(a)).toMatchObject({ count: 1 });
      expect(await world.json("shared/c")).toMatchObject({ count: 2 });
    },
  );

  test("crashes of an error that nobody catches", async () => {
    const world = World.open();
    expect(await world.error(a, "/stray")).toMatchObject({ code: "session_crashed" });
    expect(world.reasons(a)).toEqual(["crashed"]);
  });

  test("is refused when there are as many as there may be, and finds room when one is gone", async () => {
    const world = World.open({ max: { thread: 2, process: 2 } });
    await Promise.all([world.text(a), world.text(`${kind}/b`)]);
    const variable = kind === "thread" ? "MESH_THREADS_MAX" : "MESH_PROCESSES_MAX";
    expect(await world.error(`${kind}/c`, "/")).toMatchObject({
      code: "overloaded",
      message: `this worker has 2 sessions of isolation "${kind}", which is all that it may have; raise ${variable}, or add workers or nodes`,
      retryAfterMs: 1_000,
    });
    await world.host.stop(callTo(a).id.key, "stop");
    expect(await world.json(`${kind}/c`)).toMatchObject({ count: 1 });
  });
});

describe("a session of isolation process", () => {
  test.each([
    ["/exit", "session_crashed", "the session crashed: its process ended with exit code 3"],
    ["/abort", "session_crashed", "the session crashed: its process aborted"],
    ["/segfault", "session_crashed", "the session crashed: its process crashed with a segmentation fault"],
    ["/buffers", "session_killed", "the session was ended by force: its process took more than 256 MB"],
  ])("dies alone of %s", async (path, code, message) => {
    const world = World.open();
    await Promise.all([world.text("process/b"), world.text("shared/c")]);
    expect(await world.error("process/a", path)).toMatchObject({ code, message });
    expect(await world.json("process/a")).toMatchObject({ count: 1 });
    expect(await world.json("process/b")).toMatchObject({ count: 2 });
    expect(await world.json("shared/c")).toMatchObject({ count: 2 });
  });

  test("dies alone of a kill -9", async () => {
    const world = World.open();
    const { pid } = await world.json("process/a");
    expect(pid).not.toBe(process.pid);
    const under = world.error("process/a", "/never");
    await eventually(() => world.host.describe(callTo("process/a").id.key)?.inFlight === 1);
    process.kill(Number(pid), "SIGKILL");
    expect(await under).toMatchObject({
      code: "session_killed",
      message: "the session was ended by force: somebody sent its process SIGKILL",
    });
    const fresh = await world.json("process/a");
    expect(fresh).toMatchObject({ count: 1 });
    expect(fresh["pid"]).not.toBe(pid);
  });

  test.each(["stopped in order", "dropped"])("leaves no process behind when it is %s", async (how) => {
    const world = World.open();
    const { pid } = await world.json("process/a");
    if (how === "dropped") world.host.dropAll(1012);
    else await world.host.stop(callTo("process/a").id.key, "stop");
    await eventually(() => isGone(Number(pid)));
    expect(world.host.size).toBe(0);
  });
});
