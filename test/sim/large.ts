// What the protocol costs a large mesh: `node --max-old-space-size=16000 test/sim/large.ts --nodes 100`. The same simulation with all
// 16,384 partitions, begun on a registry that holds the mesh already, as after a start that took its time. Prints, for starts, a join and deaths of
// one and of many nodes, the virtual time until all agree and every partition is open, and what was sent for it. 1,000 nodes take minutes of real time.

import { parseArgs } from "node:util";
import { editSources } from "./source-edits.ts";

const { values } = parseArgs({ options: { nodes: { type: "string", default: "100" } } });
const count = Number(values.nodes);
/** Nodes of a rollout. */
const STARTS = 20;
const LOOK_MS = 20;
/** Until every node has seen every lease since the last change, and counts from it. */
const QUIET_MS = 1_500;
const IN_ORDER_MS = 300_000;
const view = { epoch: 1, opId: "made", founding: "made" };

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
  startAtOnce(STARTS);
  largeMesh();
});

/** On an empty registry, so each of them has to get itself into the view. */
function startAtOnce(size: number): void {
  const sim = simulated(size);
  measure(sim, `start of ${size} at once, on an empty registry`, () => sim.start());
}

function largeMesh(): void {
  const sim = simulated(count);
  const { network, registry, nodes } = sim;
  sim.start();
  const members = nodes.slice(0, count);
  registry.put("view", encodeView({ ...view, nodes: members.map((node) => node.record) }), 0);
  for (const { id, incarnation } of members) {
    registry.put(
      `lease.${id}`,
      encodeLease({ state: "live", incarnation, beat: 0, epoch: 0, view: "made", opId: "0", load: [] }),
      0,
    );
  }
  measure(sim, `start of ${count}, on a registry that has them`, () => {});
  pass(sim, QUIET_MS);
  const rest = network.counts.messages;
  pass(sim, 1_000);
  console.log(`at rest: ${network.counts.messages - rest} messages between workers a second`);
  measure(sim, "join of one", () => nodes[count]?.start());
  pass(sim, QUIET_MS);
  measure(sim, "kill of one", () => nodes[1]?.kill(false));
  pass(sim, QUIET_MS);
  measure(sim, "power loss of a fifth", () => {
    for (const node of members.slice(2, 2 + count / 5)) node.kill(true);
  });
  pass(sim, QUIET_MS);
  measure(sim, "kill of half of the rest", () => {
    const running = members.filter((node) => node.running);
    for (const node of running.slice(0, running.length / 2)) node.kill(false);
  });
}

function simulated(size: number): InstanceType<typeof Simulation> {
  return new Simulation({
    seed: 1,
    theme: "crashes",
    nodes: size,
    nodesMax: size + 1,
    workers: 1,
    requestMs: 1_000,
    names: 100,
    clockDrift: 0,
    faults: [],
    calmMs: 0,
  });
}

function pass({ timeline, checker }: InstanceType<typeof Simulation>, ms: number): void {
  timeline.run(timeline.now + ms, checker.afterStep);
}

/** The time until all who run see the same view and no partition waits, and what was sent for it. */
function measure(sim: InstanceType<typeof Simulation>, what: string, change: () => void): void {
  const { timeline, network, registry, checker, nodes } = sim;
  const [from, real, steps] = [timeline.now, performance.now(), timeline.steps];
  const { messages } = network.counts;
  const { writes, shown } = registry;
  const epoch = (): number => nodes.findLast((node) => node.running)?.membership?.view.epoch ?? 0;
  const before = epoch();
  change();
  do pass(sim, LOOK_MS);
  while (checker.violation === undefined && sim.unsettled() !== undefined && timeline.now < from + IN_ORDER_MS);
  console.log(
    `${what}: in order after ${Math.round(timeline.now - from)} ms, ${epoch() - before} views, ` +
      `${network.counts.messages - messages} messages between workers, ${registry.writes - writes} writes of the ` +
      `registry, ${registry.shown - shown} notices of them; ${timeline.steps - steps} steps in ` +
      `${Math.round((performance.now() - real) / 1000)} s`,
  );
  const wrong = checker.violation ?? sim.unsettled();
  if (wrong !== undefined) console.log(wrong);
}
