import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  PARTITIONS,
  UNOWNED,
  emptyTable,
  hash,
  ownerSlot,
  ownerTable,
  rendezvousFirst,
  rendezvousOrder,
  type OwnerTable,
} from "#placement";

const slotsOf = (nodes: number, workers: number) =>
  Array.from({ length: nodes * workers }, (_, at) => `node-${Math.floor(at / workers)}/${at % workers}`);

function loads(table: OwnerTable): number[] {
  const counts = table.slots.map(() => 0);
  for (const owner of table.owners) counts[owner]!++;
  return counts;
}

/** Partitions whose owner's name differs between the two tables. */
function movedBetween(before: OwnerTable, after: OwnerTable): number[] {
  return Array.from({ length: PARTITIONS }, (_, at) => at).filter(
    (at) => ownerSlot(before, at) !== ownerSlot(after, at),
  );
}

describe.each([
  [1, 1],
  [2, 1],
  [3, 2],
  [5, 4],
  [20, 8],
  [100, 2],
])("%i nodes with %i workers each", (nodes, workers) => {
  const slots = slotsOf(nodes, workers);
  const table = ownerTable(slots);

  test("own about as many partitions each", () => {
    const mean = PARTITIONS / slots.length;
    // A fair draw has the deviation sqrt(mean); five of them above the mean is no accident.
    expect(Math.max(...loads(table))).toBeLessThanOrEqual(mean + 5 * Math.sqrt(mean));
    expect(Math.min(...loads(table))).toBeGreaterThanOrEqual(mean - 5 * Math.sqrt(mean));
  });

  test("a worker that joins takes its share and nobody else gets a partition", () => {
    const after = ownerTable([...slots, "newcomer/0"], table);
    const moved = movedBetween(table, after);
    expect(new Set(moved.map((at) => ownerSlot(after, at)))).toEqual(new Set(["newcomer/0"]));
    const share = PARTITIONS / (slots.length + 1);
    expect(moved.length).toBeLessThan(share + 5 * Math.sqrt(share));
  });

  test("a worker that leaves gives away its partitions, evenly, and nobody else loses one", () => {
    const [leaver, ...rest] = slots;
    const after = ownerTable(rest, table);
    const moved = movedBetween(table, after);
    expect(new Set(moved.map((at) => ownerSlot(table, at)))).toEqual(new Set([leaver]));
    const gains = loads(after).map((count, at) => count - loads(table)[table.slots.indexOf(after.slots[at]!)]!);
    const mean = moved.length / Math.max(1, rest.length);
    if (rest.length > 0) expect(Math.max(...gains)).toBeLessThanOrEqual(mean + 6 * Math.sqrt(mean) + 1);
  });
});

const slotNames = fc.uniqueArray(fc.stringMatching(/^[a-d]{1,2}\/[0-3]$/), { maxLength: 10 });

describe("the table", () => {
  test("depends on the slots alone: any path of joins and leaves ends at the table made from scratch", () => {
    fc.assert(
      fc.property(fc.array(slotNames, { minLength: 1, maxLength: 4 }), (path) => {
        const end = path.reduce<OwnerTable>((table, slots) => ownerTable(slots, table), emptyTable);
        expect(end).toEqual(ownerTable(path.at(-1)!));
      }),
      { numRuns: 40 },
    );
  });

  test("does not depend on the order of the slots, nor on naming one twice", () => {
    fc.assert(
      fc.property(slotNames, fc.infiniteStream(fc.nat()), (slots, noise) => {
        const shuffled = [...slots, ...slots.slice(0, 1)]
          .map((slot) => ({ slot, at: noise.next().value }))
          .sort((a, b) => a.at - b.at)
          .map((entry) => entry.slot);
        expect(ownerTable(shuffled)).toEqual(ownerTable(slots));
      }),
      { numRuns: 40 },
    );
  });

  test("leaves no partition without an owner", () => {
    const table = ownerTable(slotsOf(3, 2));
    expect(table.owners.every((owner) => owner >= 0 && owner < table.slots.length)).toBe(true);
  });

  test("gives all that two slots of equal hash tie for to the one that sorts first, whoever came first", () => {
    const [lesser, greater] = ["node-8zoqk/0", "node-w3l3tx/0"] as const;
    expect(hash(lesser)).toBe(hash(greater));
    const both = ownerTable([greater, lesser]);
    expect(both.owners.every((owner) => both.slots[owner] === lesser)).toBe(true);
    expect(ownerTable([lesser, greater], ownerTable([greater]))).toEqual(both);
    expect(ownerTable([lesser, greater], ownerTable([lesser]))).toEqual(both);
  });

  test("of nobody owns nothing, and the first to come owns everything", () => {
    const nobody = ownerTable([]);
    expect(nobody.owners.every((owner) => owner === UNOWNED)).toBe(true);
    expect(ownerSlot(nobody, 0)).toBeUndefined();
    expect(ownerSlot(ownerTable(["n1/0"], nobody), 16_383)).toBe("n1/0");
    expect(ownerTable([], ownerTable(["n1/0"]))).toEqual(nobody);
  });

  test("has no owner for a partition that does not exist", () => {
    expect(ownerSlot(ownerTable(["n1/0"]), PARTITIONS)).toBeUndefined();
  });
});

// The owners that every implementation must find: first and last partitions of a small mesh.
test("three nodes of two workers own these partitions", () => {
  const table = ownerTable(slotsOf(3, 2));
  expect([0, 1, 2, 3, 8_191, 16_382, 16_383].map((at) => [at, ownerSlot(table, at)])).toMatchInlineSnapshot(`
    [
      [
        0,
        "node-0/0",
      ],
      [
        1,
        "node-1/1",
      ],
      [
        2,
        "node-0/1",
      ],
      [
        3,
        "node-2/1",
      ],
      [
        8191,
        "node-2/0",
      ],
      [
        16382,
        "node-0/1",
      ],
      [
        16383,
        "node-0/0",
      ],
    ]
  `);
});

describe("the rendezvous order", () => {
  const members = ["n1", "n2", "n3", "n4", "n5"];

  test("holds every member once and does not depend on the order they come in", () => {
    fc.assert(
      fc.property(fc.string(), fc.shuffledSubarray(members), (key, some) => {
        const order = rendezvousOrder(key, some);
        expect([...order].sort()).toEqual([...some].sort());
        expect(order).toEqual(rendezvousOrder(key, [...some].sort()));
        expect(rendezvousFirst(key, some)).toBe(order[0]);
      }),
    );
  });

  test("keeps its order among those that stay when one leaves", () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(...members), (key, leaver) => {
        const rest = members.filter((member) => member !== leaver);
        expect(rendezvousOrder(key, rest)).toEqual(rendezvousOrder(key, members).filter((member) => member !== leaver));
      }),
    );
  });

  test("puts each member first about equally often", () => {
    const firsts = new Map(members.map((member) => [member, 0]));
    for (let at = 0; at < 5_000; at++) {
      const [first = ""] = rendezvousOrder(`node-7:${at}`, members);
      firsts.set(first, (firsts.get(first) ?? 0) + 1);
    }
    for (const count of firsts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});
