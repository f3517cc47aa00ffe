// What the protocol costs a large mesh: `node --max-old-space-size=16000 test/sim/large.ts --nodes 100`. The same simulation with all
// 16,384 partitions, begun on a registry that holds the mesh already, as after a start that took its time. Prints, for a join, the kill of one
// node and the kill of half of them (minutes of real time beyond 100 nodes), the virtual time until all agree and every partition is open, and what was sent for it.

import { parseArgs } from "node:util";
import { editSources } from "./source-edits.ts";

const { values } = parseArgs({ options: { nodes: { type: "string", default: "100" } } });
const count = Number(values.nodes);

// Hundreds of readers of one text need not parse it hundreds of times in one process, nor work out one table each.
editSources([
  {
    file: "proto/view.ts",
    find: "  return Buffer.from(JSON.stringify(view));",
    replace: "  const bytes = new Uint8Array(1);\n  carried.set(bytes, view);\n  return bytes;",
  },
  {
    file: "proto/view.ts",
    find: 'const value = parseJson(bytes, "view");',
    replace:
      'const known = carried.get(bytes);\n  if (known !== undefined) return known;\n  const value = parseJson(bytes, "view");',
  },
  {
    file: "proto/view.ts",
    find: "export function encodeView",
    replace: "const carried = new WeakMap<Uint8Array, View>();\n\nexport function encodeView",
  },
  {
    file: "proto/lease.ts",
    find: "  return Buffer.from(JSON.stringify(lease));",
    replace: "  const bytes = new Uint8Array(1);\n  carried.set(bytes, lease);\n  return bytes;",
  },
  {
    file: "proto/lease.ts",
    find: 'const value = parseJson(bytes, "lease");',
    replace:
      'const known = carried.get(bytes);\n  if (known !== undefined) return known;\n  const value = parseJson(bytes, "lease");',
  },
  {
    file: "proto/lease.ts",
    find: "export function encodeLease",
    replace: "const carried = new WeakMap<Uint8Array, Lease>();\n\nexport function encodeLease",
  },
  {
    file: "placement/rendezvous.ts",
    find: "  const slots = [...new Set(slotNames)].sort();\n",
    replace:
      "  const slots = [...new Set(slotNames)].sort();\n  const name = slots.join();\n  const shared = tables.get(name);\n  if (shared !== undefined) return shared;\n",
  },
  {
    file: "placement/rendezvous.ts",
    find: "  return { slots, owners };\n",
    replace: "  const table = { slots, owners };\n  tables.set(name, table);\n  return table;\n",
  },
  {
    file: "placement/rendezvous.ts",
    find: "export function ownerTable",
    replace: "const tables = new Map<string, OwnerTable>();\n\nexport function ownerTable",
  },
]);

const { encodeLease, encodeView } = await import("../../proto/index.ts");
const { Simulation } = await import("./simulation.ts");

// Not from this module's own evaluation, which is a promise.
setImmediate(() => {
  const sim = new Simulation({
    seed: 1,
    theme: "crashes",
    nodes: count,
    nodesMax: count + 1,
    workers: 1,
    requestMs: 1_000,
    names: 100,
    clockDrift: 0,
    faults: [],
    calmMs: 0,
  });
  const { timeline, network, registry, checker, nodes } = sim;
  const pass = (ms: number): void => timeline.run(timeline.now + ms, checker.afterStep);
  sim.start();
  const members = nodes.slice(0, count);
  registry.put("view", encodeView({ ...view, nodes: members.map((node) => node.record) }), 0);
  for (const { id, incarnation } of members) {
    registry.put(`lease.${id}`, encodeLease({ state: "live", incarnation, beat: 0, epoch: 0, opId: "0", load: [] }), 0);
  }
  measure("start of all, on a registry that has them", 500, () => {});
  pass(3_000);
  const rest = network.counts.messages;
  pass(5_000);
  console.log(`at rest: ${(network.counts.messages - rest) / 5} messages between workers a second`);
  measure("join of one", 20, () => nodes[count]?.start());
  pass(3_000);
  measure("kill of one", 20, () => nodes[1]?.kill(false));
  pass(3_000);
  measure("kill of half", 200, () => {
    for (const node of members.slice(0, count / 2)) if (node.running) node.kill(false);
  });
  if (checker.violation !== undefined) console.log(checker.violation);

  function measure(what: string, lookMs: number, change: () => void): void {
    const [from, real, steps] = [timeline.now, performance.now(), timeline.steps];
    const { messages } = network.counts;
    const { writes, shown } = registry;
    change();
    do pass(lookMs);
    while (checker.violation === undefined && sim.unsettled() !== undefined && timeline.now < from + 300_000);
    console.log(
      `${what}: in order after ${Math.round(timeline.now - from)} ms, ${network.counts.messages - messages} messages between ` +
        `workers, ${registry.writes - writes} writes of the registry, ${registry.shown - shown} notices of them; ` +
        `view ${members.at(-1)?.membership?.view.epoch}; ${timeline.steps - steps} steps in ${Math.round((performance.now() - real) / 1000)} s`,
    );
  }
});

const view = { epoch: 1, opId: "made", founding: "made" };
