// What `mesh up` starts in containers where NATS and Redis are not installed, with a real engine.

import { once } from "node:events";
import net from "node:net";
import { getContainerRuntimeClient } from "testcontainers";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import type { Infra } from "../../cli/infra/find.ts";
import { fromContainer } from "../../cli/infra/from-container.ts";
import { natsNeed, redisNeed, type InfraNeed } from "../../cli/infra/need.ts";
import { answers } from "../../cli/infra/port.ts";

const ANSWER_MS = 1_000;

async function start(need: InfraNeed): Promise<Infra> {
  const said: string[] = [];
  const answer = await fromContainer(need, {
    env: {},
    port: 0,
    storeDir: undefined,
    say: (message) => void said.push(message),
  });
  if (!answer.found) throw new Error(answer.why);
  onTestFinished(answer.infra.stop);
  expect(said).toEqual([`starting ${need.name} in a container (${need.image})`]);
  console.log(`${need.name}: ${answer.infra.how} at ${answer.infra.url}`);
  return answer.infra;
}

/** The container that has the port. */
async function containerAt(port: number): Promise<string> {
  const engine = await getContainerRuntimeClient();
  const found = (await engine.container.list()).find(({ Ports }) =>
    Ports.some(({ PublicPort }) => PublicPort === port),
  );
  if (found === undefined) throw new Error(`no container has port ${port}`);
  return found.Id;
}

describe.skipIf(inject("noEngine") !== "")("a container of mesh up", () => {
  test("with NATS greets as NATS does, and is gone when it was stopped", async () => {
    const infra = await start(natsNeed);
    const port = Number(new URL(infra.url).port);
    const socket = net.connect(port, "127.0.0.1");
    const [greeting] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    expect(greeting.toString()).toMatch(/^INFO .*"jetstream":true/);
    await infra.stop();
    expect(await answers("127.0.0.1", port, ANSWER_MS)).toBe(false);
  });

  test("with Redis answers as Redis does, and its end is reported when nobody asked for it", async () => {
    const infra = await start(redisNeed);
    const port = Number(new URL(infra.url).port);
    const socket = net.connect(port, "127.0.0.1");
    socket.write("PING\r\n");
    const [pong] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    expect(pong.toString()).toBe("+PONG\r\n");
    const engine = await getContainerRuntimeClient();
    await engine.container.getById(await containerAt(port)).kill();
    expect(await infra.lost).toBe("its container ended");
    await infra.stop();
  });
});
