// A nats-server with JetStream for tests, in a container of the engine that answers: the version that meshes in containers have. Works as the one
// of nats-server.ts does, so tests need not know which it is.

import { GenericContainer, ImageName, Wait, getContainerRuntimeClient } from "testcontainers";
import { natsNeed } from "../../cli/infra/need.ts";
import type { NatsServer } from "./nats-server.ts";

/** A container, not an image: that is fetched before. */
const START_MS = 30_000;
const CLIENTS = 4222;
const IN_CONTAINER = "/data";

/** For people, once an engine answers and has the image, or can fetch it. Else `undefined`. */
export async function natsInContainer(): Promise<string | undefined> {
  const engine = await getContainerRuntimeClient().catch(() => undefined);
  if (engine === undefined) return undefined;
  const image = ImageName.fromString(natsNeed.image);
  const isThere =
    (await engine.image.exists(image)) ||
    (await engine.image.pull(image).then(
      () => true,
      () => false,
    ));
  const { serverVersion } = engine.info.containerRuntime;
  return isThere ? `${natsNeed.image} in a container (Docker ${serverVersion})` : undefined;
}

export async function startNatsContainer(options: {
  readonly storeDir: string;
  readonly port: number | undefined;
  readonly jetStream: boolean;
}): Promise<Omit<NatsServer, "remove">> {
  const engine = await getContainerRuntimeClient();
  const wish = new GenericContainer(natsNeed.image)
    .withCommand(options.jetStream ? ["-js", "-sd", IN_CONTAINER] : [])
    .withBindMounts([{ source: options.storeDir, target: IN_CONTAINER }])
    .withExposedPorts(options.port === undefined ? CLIENTS : { container: CLIENTS, host: options.port })
    .withWaitStrategy(Wait.forLogMessage(natsNeed.readyPattern))
    .withStartupTimeout(START_MS);
  const { uid, gid } = { uid: process.getuid?.(), gid: process.getgid?.() };
  // Its files are ours to remove.
  if (uid !== undefined && gid !== undefined) wish.withUser(`${uid}:${gid}`);
  const started = await wish.start();
  const container = engine.container.getById(started.getId());
  const port = started.getMappedPort(CLIENTS);
  let gone = false;
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir: options.storeDir,
    kill: async (signal = "SIGKILL") => {
      if (gone) return;
      if (signal === "SIGSTOP") return void (await container.pause());
      if (signal === "SIGCONT") return void (await container.unpause());
      gone = true;
      const { State } = await container.inspect();
      if (State.Paused) await container.unpause();
      const ended = container.wait();
      await container.kill({ signal });
      await ended;
      // Only then is its port free again.
      await container.remove({ force: true, v: true });
    },
  };
}
