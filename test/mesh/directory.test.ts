import { describe, expect, test } from "vitest";
import { parseSessionKey, type SessionId } from "#proto";
import { PARTITIONS, partitionOf } from "#placement";
import { Directory } from "../../mesh/directory.ts";
import { viewOf, workerId } from "./views.ts";

const n1 = workerId("n1", 0, "a");
const n2 = workerId("n2", 0, "b");
const n3 = workerId("n3", 0, "c");
const one = viewOf(1, [{ id: "n1", workers: ["a"] }]);
const two = viewOf(2, [
  { id: "n1", workers: ["a"] },
  { id: "n2", workers: ["b"] },
]);

/** A session whose partition `directory` owns under its present view. */
function ownSession(directory: Directory, self: string): SessionId {
  for (let at = 0; ; at++) {
    const id = parseSessionKey(`room/${at}`);
    if (directory.ownerOf(partitionOf(id.key))?.id === self) return id;
  }
}

describe("a directory", () => {
  test("opens all partitions at once when it is alone", () => {
    const directory = new Directory(n1);
    const recovery = directory.viewChanged(one);
    expect(recovery?.members).toEqual([]);
    expect(recovery?.partitions.size).toBe(PARTITIONS);
    expect(directory.recoveringCount).toBe(0);
  });

  test("asks all other hosts, and opens when the last has answered", () => {
    const directory = new Directory(n2);
    const view = viewOf(3, [
      { id: "n1", workers: ["a"] },
      { id: "n2", workers: ["b"] },
      { id: "n3", workers: ["c"], state: "draining" },
      { id: "g1", workers: ["d"], role: "gateway" },
    ]);
    const recovery = directory.viewChanged(view);
    expect(recovery?.members.map((member) => member.id)).toEqual([n1, n3]);
    const id = ownSession(directory, n2);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("recovering");
    directory.recovered(n1, 3, []);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("recovering");
    directory.recovered(n3, 3, []);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("vacant");
  });

  test("does not wait for a worker that left the view", () => {
    const directory = new Directory(n2);
    directory.viewChanged(two);
    directory.viewChanged(viewOf(3, [{ id: "n2", workers: ["b"] }]));
    expect(directory.recoveringCount).toBe(0);
  });

  test("keeps waiting for an answer to an older question across views that change nothing for it", () => {
    const directory = new Directory(n2);
    directory.viewChanged(two);
    const again = directory.viewChanged({ ...two, epoch: 3, opId: "op-3" });
    expect(again).toBeUndefined();
    expect(directory.recoveringCount).toBeGreaterThan(0);
    directory.recovered(n1, 2, []);
    expect(directory.recoveringCount).toBe(0);
  });

  test("learns from answers where sessions live, while it still recovers", () => {
    const directory = new Directory(n2);
    directory.viewChanged(
      viewOf(2, [...[{ id: "n1", workers: ["a"] }], { id: "n2", workers: ["b"] }, { id: "n3", workers: ["c"] }]),
    );
    const id = ownSession(directory, n2);
    directory.recovered(n1, 2, [{ key: id.key, fence: { epoch: 1, claim: 4 } }]);
    const found = directory.locate(id.key, partitionOf(id.key));
    expect(found.status === "hosted" && found.worker.id).toBe(n1);
  });

  test("ignores an answer to a question that it did not ask", () => {
    const directory = new Directory(n2);
    directory.viewChanged(two);
    directory.recovered(n1, 7, []);
    directory.recovered(n3, 2, []);
    expect(directory.recoveringCount).toBeGreaterThan(0);
  });

  test("forgets a partition that it lost, and asks anew when it comes back", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    directory.viewChanged(two);
    const back = directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n3", workers: ["c"], state: "draining" },
      ]),
    );
    expect(back?.epoch).toBe(3);
    expect(back?.members.map((member) => member.id)).toEqual([n3]);
  });

  test("ignores a view that is not newer", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    expect(directory.viewChanged(one)).toBeUndefined();
    expect(directory.view.epoch).toBe(2);
  });

  test("refuses a grant older than what it promised, and never lowers a promise", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    directory.promise(5, { epoch: 3, claim: 0 });
    directory.promise(5, { epoch: 2, claim: 9 });
    expect(directory.mayActivate(5, { epoch: 2, claim: 10 })).toBe(false);
    expect(directory.mayActivate(5, { epoch: 3, claim: 1 })).toBe(true);
    directory.promise(5, { epoch: 3, claim: 7 });
    expect(directory.mayActivate(5, { epoch: 3, claim: 6 })).toBe(false);
    expect(directory.mayActivate(6, { epoch: 1, claim: 1 })).toBe(true);
  });

  test("cedes a partition when its next owner asks, and asks anew when a later view gives it back", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    const id = parseSessionKey("room/x");
    const partition = partitionOf(id.key);
    directory.promise(partition, { epoch: 2, claim: 0 });
    expect(directory.locate(id.key, partition).status).toBe("ceded");
    const again = directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n3", workers: ["c"], state: "draining" },
      ]),
    );
    expect([...(again?.partitions ?? [])]).toEqual([partition]);
    expect(directory.locate(id.key, partition).status).toBe("recovering");
  });

  test("does not take a partition from a view that is older than its promise", () => {
    const directory = new Directory(n1);
    const partition = partitionOf(parseSessionKey("room/x").key);
    directory.promise(partition, { epoch: 2, claim: 0 });
    directory.viewChanged(one);
    expect(directory.isOpen(partition)).toBe(false);
    directory.viewChanged(viewOf(2, [{ id: "n1", workers: ["a"] }]));
    expect(directory.isOpen(partition)).toBe(true);
  });

  test("takes out only the activation that ended", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    directory.recovered(n2, 2, []);
    const id = ownSession(directory, n1);
    const first = directory.claim();
    directory.granted(id.key, n2, first);
    const second = directory.claim();
    directory.granted(id.key, n2, second);
    directory.ended(n2, id.key, first);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("hosted");
    directory.ended(n2, id.key, second);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("vacant");
  });

  test("forgets the sessions of a worker that left the view", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    directory.recovered(n2, 2, []);
    const id = ownSession(directory, n1);
    directory.granted(id.key, n2, directory.claim());
    directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n2", workers: ["b2"] },
      ]),
    );
    expect(directory.entryCount).toBe(0);
  });

  test("gives tokens that only rise", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    const first = directory.claim();
    directory.viewChanged(two);
    const second = directory.claim();
    expect([second.epoch > first.epoch, second.claim > first.claim]).toEqual([true, true]);
  });
});
