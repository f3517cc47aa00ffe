// Starts the server in a container when a Docker engine answers. testcontainers does the work; it is a development dependency,
// so it may be absent. Its reaper ends the container when this process dies.

import { mkdirSync } from "node:fs";
import path from "node:path";
import { MeshError, messageOf } from "#proto";
import type { Found, InfraWish } from "./find.ts";
import type { InfraNeed } from "./need.ts";

/** The first start fetches an image; a slower network than this needs a person. */
const START_MS = 120_000;

/** Throws `registry_unavailable` when an engine answers and the container does not start. */
export async function fromContainer(need: InfraNeed, wish: InfraWish): Promise<Found> {
  const containers = await import("testcontainers").catch(() => undefined);
  if (containers === undefined) return { found: false, why: "the package testcontainers is not installed" };
  const engine = await containers.getContainerRuntimeClient().catch(() => undefined);
  if (engine === undefined) return { found: false, why: "no Docker engine answers" };
  wish.say(`starting ${need.name} in a container (${need.image})`);
  try {
    const container = new containers.GenericContainer(need.image)
      .withCommand([...need.imageCommand])
      .withExposedPorts(wish.port === 0 ? need.defaultPort : { container: need.defaultPort, host: wish.port })
      .withWaitStrategy(containers.Wait.forLogMessage(need.readyPattern))
      .withStartupTimeout(START_MS);
    if (wish.storeDir !== undefined) {
      mkdirSync(wish.storeDir, { recursive: true });
      container.withBindMounts([{ source: path.resolve(wish.storeDir), target: "/data" }]);
    }
    const started = await container.start();
    let stopping: Promise<void> | undefined;
    // Fails when the engine ends, which ends the container as well.
    const ended = engine.container
      .getById(started.getId())
      .wait()
      .then(
        () => "its container ended",
        () => "the Docker engine ended",
      );
    return {
      found: true,
      infra: {
        url: `${need.scheme}://${started.getHost()}:${started.getMappedPort(need.defaultPort)}`,
        how: `${need.image} in a container`,
        lost: new Promise((resolve) => void ended.then((why) => stopping ?? resolve(why))),
        stop: () => (stopping ??= started.stop().then(() => undefined)),
      },
    };
  } catch (cause) {
    throw new MeshError("registry_unavailable", `${need.image} did not start in a container: ${messageOf(cause)}`, {
      cause,
    });
  }
}
