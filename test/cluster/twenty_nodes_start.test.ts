// A whole mesh that starts at the same moment, as at a first deployment or after a power cut: one view for each node that joins.

import { expect, test } from "vitest";
import { count, type Count } from "./counter-client.ts";
import { ownMesh, viewOf } from "./test-mesh.ts";

const NODES = 20;
/** Forty processes load their code on two cores. */
const READY_MS = 150_000;
const CASUALTY = /evicted a node|a worker died/g;
const JOINED = /(\d\d):(\d\d):(\d\d\.\d+) info +n\d+ in the mesh/g;

test(
  "twenty nodes that start at once make one view each, and all lead to the same sessions",
  async () => {
    const mesh = await ownMesh({ nodes: NODES, workers: 1, readyMs: READY_MS });
    // One after the other: each answer tells how many came before it.
    const answers: Count[] = [];
    for (const { gateway } of mesh.nodes) answers.push(await count(gateway, "counter/alice"));
    expect(answers.map((answer) => answer.count)).toEqual(Array.from({ length: NODES }, (_, at) => at + 1));
    expect([...(await viewOf(mesh)).keys()].sort()).toEqual(mesh.nodes.map((node) => node.id).sort());

    // On cores as busy as these somebody may be silent for too long, and come back by another view.
    const casualties = mesh.output.match(CASUALTY)?.length ?? 0;
    const epoch = answers[0]?.fence.epoch;
    expect(epoch).toBe(NODES + 2 * casualties);

    const joins = [...mesh.output.matchAll(JOINED)].map(
      ([, hour, minute, second]) => (Number(hour) * 60 + Number(minute)) * 60 + Number(second),
    );
    console.log(
      `${NODES} nodes at once: ${epoch} views, ${casualties} casualties; all partitions open ${(Math.max(...joins) - Math.min(...joins)).toFixed(1)} s after the first node's`,
    );
  },
  READY_MS + 30_000,
);
