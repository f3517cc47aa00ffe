// Asks the registry of a mesh over NATS, as any NATS client may: JSON in, JSON out. Turns the two ways in which nobody answers into
// sentences that say what to do.

import { setTimeout as sleep } from "node:timers/promises";
import { connectNats, type NatsLink } from "#mesh";
import { MeshError, record } from "#proto";
import { anyAnswers, withoutPassword } from "../infra/from-url.ts";
import { natsNeed } from "../infra/need.ts";
import type { RegistryPlace } from "./where.ts";

export type RegistryOperation = "get" | "list" | "count" | "nodes" | "view";

/** A query asks every worker of every node; a node that is stuck answers late or not at all. */
const ANSWER_MS = 5_000;
/** Before a node that could not answer for now is asked again, with all others. */
const AGAIN_MS = 500;

/** Where one who asks in vain may have to ask. */
const WHERE =
  "A mesh of `mesh up` is found from the folder that it was started in, any other with --nats or NATS_URL; " +
  "`mesh dev` has no registry to ask";

/** The answer, an object. Throws `registry_unavailable`, or the error that the mesh answered with. */
export async function queryRegistry(
  place: RegistryPlace,
  operation: RegistryOperation,
  body: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  // A node waits for a NATS that is about to start; a person who asks does not want to.
  if (!(await anyAnswers(place.nats, natsNeed))) {
    throw new MeshError("registry_unavailable", `NATS does not answer at ${withoutPassword(place.nats)}. ${WHERE}`);
  }
  const link = await connectNats(place.nats, { name: "sessionmesh cli" });
  try {
    return record(
      await askUntilAnswered(link, `mesh.${place.mesh}.registry.${operation}`, body),
      "the answer of the registry",
    );
  } catch (thrown) {
    const error = MeshError.from(thrown);
    if (error.code !== "registry_unavailable") throw error;
    throw new MeshError(
      "registry_unavailable",
      `no node of a mesh named "${place.mesh}" answers on ${withoutPassword(place.nats)}: is it up? Another name goes into --mesh or MESH_NAME. ${WHERE}`,
      { cause: error },
    );
  } finally {
    await link.close();
  }
}

/** Every node hears the question, and the first answer counts. One that must not answer now says so, and another may, a moment later. */
async function askUntilAnswered(
  link: NatsLink,
  subject: string,
  body: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const until = performance.now() + ANSWER_MS;
  for (;;) {
    try {
      return await link.request(subject, body, Math.max(1, until - performance.now()));
    } catch (thrown) {
      const error = MeshError.from(thrown);
      const isForNow = error.code === "suspended" || error.code === "no_host";
      if (!isForNow || performance.now() + AGAIN_MS >= until) throw error;
      await sleep(AGAIN_MS);
    }
  }
}
