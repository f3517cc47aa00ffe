import { describe, expect, test } from "vitest";
import { parseSessionKey, type HostedSession, type SessionId, type WorkerId } from "#proto";
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

/** `from` tells everything it is to be asked for now. */
function tells(directory: Directory, from: WorkerId, sessions: readonly HostedSession[] = []): boolean {
  const question = directory.question(from);
  return question !== undefined && directory.recovered(from, question, sessions);
}

function unheard(directory: Directory): WorkerId[] {
  return directory.unheard.map((member) => member.id);
}

describe("a directory", () => {
  test("opens all partitions at once when it is alone", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    expect(unheard(directory)).toEqual([]);
    expect(Array.from({ length: PARTITIONS }, (_, at) => directory.isOpen(at))).not.toContain(false);
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
    directory.viewChanged(view);
    expect(unheard(directory)).toEqual([n1, n3]);
    const id = ownSession(directory, n2);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("recovering");
    expect(tells(directory, n1)).toBe(false);
    expect(directory.locate(id.key, partitionOf(id.key)).status).toBe("recovering");
    expect(tells(directory, n3)).toBe(true);
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
    const question = directory.question(n1);
    directory.viewChanged({ ...two, epoch: 3, opId: "op-3" });
    expect(directory.recoveringCount).toBeGreaterThan(0);
    expect(question !== undefined && directory.recovered(n1, question, [])).toBe(true);
    expect(directory.recoveringCount).toBe(0);
  });

  test("asks each worker once for what it gained in many views", () => {
    const directory = new Directory(n1);
    const others = ["n2", "n3", "n4", "n5", "n6", "n7"];
    const views = others.map((_, at) =>
      viewOf(at + 2, [{ id: "n1", workers: ["a"] }, ...others.slice(at).map((id) => ({ id, workers: [id] }))]),
    );
    for (const view of views) directory.viewChanged(view);
    expect(unheard(directory)).toEqual([workerId("n7", 0, "n7")]);
    const question = directory.question(workerId("n7", 0, "n7"));
    expect([question?.epoch, question?.partitions.size]).toEqual([7, directory.recoveringCount]);
    tells(directory, workerId("n7", 0, "n7"));
    expect(directory.recoveringCount).toBe(0);
  });

  test("does not take an answer for what it gained after the question", () => {
    const directory = new Directory(n1);
    directory.viewChanged(
      viewOf(2, [
        { id: "n1", workers: ["a"] },
        { id: "n2", workers: ["b"] },
        { id: "n3", workers: ["c"] },
      ]),
    );
    const question = directory.question(n2);
    directory.viewChanged(
      viewOf(
        3,
        two.nodes.map((node) => ({ id: node.id, workers: [node.id === "n1" ? "a" : "b"] })),
      ),
    );
    expect(question !== undefined && directory.recovered(n2, question, [])).toBe(true);
    expect(directory.recoveringCount).toBeGreaterThan(0);
    expect(unheard(directory)).toEqual([n2]);
    tells(directory, n2);
    expect(directory.recoveringCount).toBe(0);
  });

  test("asks for no partition that it has lost meanwhile", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    const before = directory.recoveringCount;
    directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n2", workers: ["b"] },
        { id: "n3", workers: ["c"] },
      ]),
    );
    expect(directory.recoveringCount).toBeLessThan(before);
    expect(directory.question(n2)?.partitions.size).toBe(directory.recoveringCount);
  });

  test("learns from answers where sessions live, while it still recovers", () => {
    const directory = new Directory(n2);
    directory.viewChanged(
      viewOf(2, [...[{ id: "n1", workers: ["a"] }], { id: "n2", workers: ["b"] }, { id: "n3", workers: ["c"] }]),
    );
    const id = ownSession(directory, n2);
    expect(tells(directory, n1, [{ key: id.key, fence: { epoch: 1, claim: 4 } }])).toBe(true);
    const found = directory.locate(id.key, partitionOf(id.key));
    expect(found.status === "hosted" && found.worker.id).toBe(n1);
  });

  test("takes an answer once, and only from whom it asked", () => {
    const directory = new Directory(n2);
    directory.viewChanged(two);
    const question = directory.question(n1);
    if (question === undefined) throw new Error("nothing to ask");
    expect(directory.recovered(n3, question, [])).toBe(false);
    expect(directory.recoveringCount).toBeGreaterThan(0);
    expect(directory.recovered(n1, question, [])).toBe(true);
    expect(directory.recovered(n1, question, [])).toBe(false);
  });

  test("forgets a partition that it lost, and asks anew when it comes back", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    directory.viewChanged(two);
    directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n3", workers: ["c"], state: "draining" },
      ]),
    );
    expect(directory.question(n3)?.epoch).toBe(3);
    expect(unheard(directory)).toEqual([n3]);
  });

  test("ignores a view that is not newer", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    directory.viewChanged(one);
    expect(directory.view.epoch).toBe(2);
  });

  test("refuses a grant older than what it promised, and never lowers a promise", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    directory.promise([5], { epoch: 3, claim: 0 });
    directory.promise([5], { epoch: 2, claim: 9 });
    expect(directory.mayActivate(5, { epoch: 2, claim: 10 })).toBe(false);
    expect(directory.mayActivate(5, { epoch: 3, claim: 1 })).toBe(true);
    directory.promise([5], { epoch: 3, claim: 7 });
    expect(directory.mayActivate(5, { epoch: 3, claim: 6 })).toBe(false);
    expect(directory.mayActivate(6, { epoch: 1, claim: 1 })).toBe(true);
  });

  test("cedes a partition when its next owner asks, and asks anew when a later view gives it back", () => {
    const directory = new Directory(n1);
    directory.viewChanged(one);
    const id = parseSessionKey("room/x");
    const partition = partitionOf(id.key);
    directory.promise([partition], { epoch: 2, claim: 0 });
    expect(directory.locate(id.key, partition).status).toBe("ceded");
    directory.viewChanged(
      viewOf(3, [
        { id: "n1", workers: ["a"] },
        { id: "n3", workers: ["c"], state: "draining" },
      ]),
    );
    expect(directory.question(n3)?.partitions.members).toEqual([partition]);
    expect(directory.locate(id.key, partition).status).toBe("recovering");
  });

  test("asks anew at once when the next owner asks that a later view has replaced already", () => {
    const directory = new Directory(n1);
    const [first, , third] = [1, 2, 3].map((epoch) =>
      viewOf(epoch, [
        { id: "n1", workers: ["a"] },
        { id: "n3", workers: ["c"], state: "draining" },
      ]),
    );
    if (first === undefined || third === undefined) throw new Error("no views");
    directory.viewChanged(first);
    tells(directory, n3);
    directory.viewChanged(third);
    const partition = partitionOf(parseSessionKey("room/x").key);
    expect(directory.isOpen(partition)).toBe(true);
    expect(directory.promise([partition], { epoch: 2, claim: 0 })).toBe(true);
    expect(directory.isOpen(partition)).toBe(false);
    expect(directory.question(n3)?.partitions.members).toEqual([partition]);
    tells(directory, n3);
    expect(directory.isOpen(partition)).toBe(true);
    expect(directory.promise([partition], { epoch: 2, claim: 9 })).toBe(false);
  });

  test("does not take a partition from a view that is older than its promise", () => {
    const directory = new Directory(n1);
    const partition = partitionOf(parseSessionKey("room/x").key);
    directory.promise([partition], { epoch: 2, claim: 0 });
    directory.viewChanged(one);
    expect(directory.isOpen(partition)).toBe(false);
    directory.viewChanged(viewOf(2, [{ id: "n1", workers: ["a"] }]));
    expect(directory.isOpen(partition)).toBe(true);
  });

  test("takes out only the activation that ended", () => {
    const directory = new Directory(n1);
    directory.viewChanged(two);
    tells(directory, n2);
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
    tells(directory, n2);
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
