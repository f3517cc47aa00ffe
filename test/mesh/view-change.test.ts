// The view's changes as facts that hold for every view.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { allEvicted, evicted, holds, joined, left, rebased, withState, withWorkers } from "../../mesh/view-change.ts";
import { emptyView, type View } from "#proto";
import { views } from "../proto/arbitrary.ts";
import { worker } from "./membership-nodes.ts";
import { viewOf } from "./views.ts";

const two = viewOf(5, [
  { id: "n1", workers: ["a"] },
  { id: "n2", workers: ["b"] },
]);

describe("joining", () => {
  test("the first node founds the view with epoch 1", () => {
    const node = two.nodes[0]!;
    expect(joined(emptyView, node)).toMatchObject({ status: "joined", view: { epoch: 1, nodes: [node] } });
  });

  test("an id that another incarnation holds is taken, and the holder is named", () => {
    const holder = two.nodes[0]!;
    expect(joined(two, { ...holder, incarnation: "other" })).toEqual({ status: "id_taken", holder });
  });

  test("joining again with the same record changes nothing, with another record the record", () => {
    const node = two.nodes[1]!;
    expect(joined(two, structuredClone(node))).toEqual({ status: "joined", view: two });
    const outcome = joined(two, { ...node, zone: "b" });
    expect(outcome).toMatchObject({
      status: "joined",
      view: { epoch: 6, nodes: [{ id: "n1" }, { id: "n2", zone: "b" }] },
    });
  });
});

test("however many nodes are evicted at once, it is one change, and another life of one stays", () => {
  fc.assert(
    fc.property(views, fc.infiniteStream(fc.constantFrom("stays", "goes", "came back")), (view, fates) => {
      const lives = new Map<string, string>();
      const stay = view.nodes.filter(({ id, incarnation }) => {
        const fate = fates.next().value;
        if (fate !== "stays") lives.set(id, fate === "goes" ? incarnation : `${incarnation}-old`);
        return fate !== "goes";
      });
      const after = allEvicted(view, lives);
      if (stay.length === view.nodes.length) expect(after).toBe(view);
      else expect(after).toMatchObject({ ...view, epoch: view.epoch + 1, nodes: stay, departed: expect.anything() });
    }),
  );
});

test("every change raises the epoch by one and does what it says, or returns the very view it was given", () => {
  fc.assert(
    fc.property(views, fc.nat(5), fc.boolean(), (view, at, stale) => {
      const node = view.nodes[at % Math.max(1, view.nodes.length)];
      const id = node?.id ?? "nobody";
      const incarnation = stale ? `${node?.incarnation}-old` : (node?.incarnation ?? "none");
      const state = node?.state === "up" ? "draining" : "up";
      const changes: View[] = [
        left(view, id, incarnation),
        evicted(view, id, incarnation),
        withState(view, id, incarnation, state),
        withWorkers(view, id, incarnation, [...(node?.workers ?? []), worker(300, "new")]),
      ];
      for (const changed of changes) {
        if (node === undefined || stale) expect(changed).toBe(view);
        else expect(changed.epoch).toBe(view.epoch + 1);
        // Nobody else's record is touched.
        const others = (some: View): unknown[] => some.nodes.filter((other) => other.id !== id);
        expect(others(changed)).toEqual(others(view));
      }
      if (node !== undefined && !stale) {
        expect(holds(changes[0]!, id, incarnation)).toBe(false);
        expect(changes[2]!.nodes.find((other) => other.id === id)?.state).toBe(state);
      }
      // Written twice is written once.
      const [gone, , turned] = changes;
      expect(left(gone!, id, incarnation)).toBe(gone);
      expect(withState(turned!, id, incarnation, state)).toBe(turned);
    }),
  );
});

describe("against a registry that went back", () => {
  test("a newer view is believed", () => {
    const stored = { ...two, epoch: 6 };
    expect(rebased(two, stored)).toEqual({ base: stored, rewound: false });
  });

  test("the same view is no rewind, and is returned as it is", () => {
    const stored = structuredClone(two);
    expect(rebased(two, stored).base).toBe(stored);
  });

  test.each([
    ["a missing view", undefined],
    ["an older view", { ...two, epoch: 4, opId: "op-4", nodes: [] }],
    ["another view under the same number", { ...two, opId: "other", nodes: [] }],
    ["a newer view of another founding", { ...two, epoch: 9, founding: "two", nodes: [] }],
  ])("instead of %s, what was seen is proposed with a higher epoch", (_, stored) => {
    const { base, rewound } = rebased(two, stored);
    expect(rewound).toBe(true);
    expect(base).toMatchObject({ founding: two.founding, nodes: two.nodes });
    expect(base.epoch).toBeGreaterThan(Math.max(two.epoch, stored?.epoch ?? 0));
  });

  test("who joined after the registry went back stays, who was seen to go does not come back", () => {
    const [gone, newcomer] = viewOf(
      1,
      ["n0", "n3"].map((id) => ({ id, workers: ["a"] })),
    ).nodes;
    const stored = { ...two, opId: "other", nodes: [gone!, two.nodes[0]!, newcomer!] };
    const { base } = rebased({ ...two, departed: [gone!.incarnation] }, stored);
    expect(base.nodes).toEqual([...two.nodes, newcomer]);
    expect(base.departed).toEqual([gone!.incarnation]);
  });

  test("a newer view that holds one who was seen to go is put right, and kept otherwise", () => {
    const [gone, newcomer] = viewOf(
      1,
      ["n0", "n3"].map((id) => ({ id, workers: ["a"] })),
    ).nodes;
    const stored = { ...two, epoch: 9, opId: "other", nodes: [gone!, newcomer!], departed: ["n9-1"] };
    const { base, rewound } = rebased({ ...two, departed: [gone!.incarnation] }, stored);
    expect(rewound).toBe(true);
    expect(base).toMatchObject({ epoch: 10, nodes: [newcomer], departed: ["n9-1", gone!.incarnation] });
  });

  test("who has ended in the view that others went on with does not come back from ours", () => {
    const stored = { ...two, epoch: 4, nodes: [two.nodes[1]!], departed: [two.nodes[0]!.incarnation] };
    const { base } = rebased(two, stored);
    expect(base).toMatchObject({ epoch: 6, nodes: [two.nodes[1]], departed: [two.nodes[0]!.incarnation] });
  });
});

test("a view tells of the last ends, and of none whose node is there", () => {
  let view: View = two;
  for (let life = 0; life < 200; life++) {
    const node = { ...two.nodes[1]!, incarnation: `life-${life}` };
    view = evicted(view, "n2", view.nodes[1]!.incarnation);
    const outcome = joined(view, node);
    if (outcome.status === "joined") view = outcome.view;
  }
  expect(view.departed).toHaveLength(64);
  expect(view.departed?.at(-1)).toBe("life-198");
  const back = joined(evicted(view, "n2", "life-199"), view.nodes[1]!);
  expect(back).toMatchObject({ status: "joined", view: { departed: view.departed?.slice(-63) } });
});
