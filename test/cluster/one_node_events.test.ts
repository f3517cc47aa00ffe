// What a plain NATS client hears of sessions that crash and are killed.

import { connect } from "@nats-io/transport-node";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "./eventually.ts";
import { startMesh } from "./mesh-up.ts";

test("whoever listens hears of each crash and each kill, and of nothing else", async () => {
  const mesh = await startMesh({
    app: "examples/faults/app.ts",
    nodes: 1,
    workers: 1,
    env: { MESH_TURN_BUDGET_MS: "200" },
  });
  onTestFinished(() => mesh.stop());
  const nats = await connect({ servers: mesh.nats });
  onTestFinished(() => nats.close());
  const heard: { readonly subject: string; readonly event: unknown }[] = [];
  nats.subscribe(`mesh.${mesh.name}.events.>`, {
    callback: (_error, message) => void heard.push({ subject: message.subject, event: message.json() }),
  });
  await nats.flush();
  const gateway = mesh.nodes[0]?.gateway ?? "";
  await fetch(`${gateway}/sessions/neighbour/calm`);
  for (const fault of ["throw", "spin", "exit"]) await fetch(`${gateway}/sessions/fault/${fault}/fault/${fault}`);
  await eventually(() => heard.length >= 3, 5_000);
  const where = { node: "n1", worker: 0 };
  const subject = `mesh.${mesh.name}.events.n1`;
  expect(heard).toEqual([
    {
      subject: `${subject}.crashed`,
      event: {
        ...where,
        session: "fault/throw",
        reason: "Error",
        message: "told to",
        at: expect.any(String) as unknown,
      },
    },
    {
      subject: `${subject}.killed`,
      event: {
        ...where,
        session: "fault/spin",
        reason: "turn budget",
        durationMs: expect.any(Number) as unknown,
        message: expect.stringContaining("held its worker") as unknown,
        at: expect.any(String) as unknown,
      },
    },
    {
      subject: `${subject}.killed`,
      event: {
        ...where,
        session: "fault/exit",
        reason: "process.exit()",
        message: expect.stringContaining("process.exit()") as unknown,
        at: expect.any(String) as unknown,
      },
    },
  ]);
});
