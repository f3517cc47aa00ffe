import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { carries, chooseHost, defaultWish, type Candidate, type PlacementWish } from "#placement";

const idle = { sessions: 0, utilisation: 0, rssBytes: 80e6 };
const hot = { sessions: 50_000, utilisation: 1, rssBytes: 2e9 };

function candidate(slot: string, load: Candidate["load"] = idle, labels: Record<string, string> = {}): Candidate {
  return { slot, load, labels };
}

/** The numbers in turn; the test fails when one more is drawn. */
function draws(...numbers: number[]): () => number {
  return () => {
    const next = numbers.shift();
    if (next === undefined) throw new Error("drew more numbers than expected");
    return next;
  };
}

const noDraw = draws();
const spread: PlacementWish = { policy: "spread", labels: {} };

describe("the owner keeps a session", () => {
  test("when all are idle", () => {
    expect(chooseHost("n1/0", [candidate("n1/0"), candidate("n2/0")], defaultWish, noDraw)).toBe("n1/0");
  });

  test("when nothing is known of anybody's load", () => {
    const unknown = ["n1/0", "n2/0"].map((slot): Candidate => ({ slot, labels: {}, load: undefined }));
    expect(chooseHost("n2/0", unknown, defaultWish, noDraw)).toBe("n2/0");
  });

  test("when it is a little more loaded than the others", () => {
    const owner = candidate("n1/0", { sessions: 200, utilisation: 0.3, rssBytes: 120e6 });
    expect(chooseHost("n1/0", [owner, candidate("n2/0"), candidate("n3/0")], defaultWish, noDraw)).toBe("n1/0");
  });

  test("when it is as hot as everybody else", () => {
    expect(chooseHost("n1/0", [candidate("n1/0", hot), candidate("n2/0", hot)], defaultWish, noDraw)).toBe("n1/0");
  });

  test("when it has a dozen sessions and the others have none", () => {
    const owner = candidate("n1/0", { ...idle, sessions: 12 });
    expect(chooseHost("n1/0", [owner, candidate("n2/0")], defaultWish, noDraw)).toBe("n1/0");
  });
});

describe("the owner gives a session away", () => {
  test("when its processor is busy and the only other worker is idle", () => {
    const owner = candidate("n1/0", { ...idle, utilisation: 1 });
    expect(chooseHost("n1/0", [owner, candidate("n2/0")], defaultWish, draws(0, 0))).toBe("n2/0");
  });

  test("when it is clearly more loaded, whatever is drawn", () => {
    const candidates = [candidate("n1/0", hot), candidate("n2/0"), candidate("n3/0")];
    const numbers = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        expect(chooseHost("n1/0", candidates, defaultWish, draws(a, b))).not.toBe("n1/0");
      }),
    );
  });

  test("when it lacks a label that the session's class wants", () => {
    const ssd = { disk: "ssd" };
    const wish: PlacementWish = { policy: "owner-first", labels: ssd };
    const candidates = [candidate("n1/0"), candidate("n2/0", hot, ssd), candidate("n3/0", idle, { disk: "hdd" })];
    expect(chooseHost("n1/0", candidates, wish, noDraw)).toBe("n2/0");
  });

  test("when it is not a candidate itself", () => {
    expect(chooseHost("gone/0", [candidate("n1/0")], defaultWish, noDraw)).toBe("n1/0");
  });
});

describe("spread", () => {
  test("takes the less loaded of two drawn, even over the owner", () => {
    const candidates = [candidate("n1/0", { ...idle, utilisation: 0.2 }), candidate("n2/0")];
    expect(chooseHost("n1/0", candidates, spread, draws(0, 0))).toBe("n2/0");
    expect(chooseHost("n1/0", candidates, spread, draws(0.9, 0.9))).toBe("n2/0");
  });

  test("never takes the most loaded one", () => {
    const candidates = ["a/0", "b/0", "c/0", "d/0"].map((slot, at) =>
      candidate(slot, { ...idle, utilisation: at / 10 }),
    );
    const numbers = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        expect(chooseHost("d/0", candidates, spread, draws(a, b))).not.toBe("d/0");
      }),
    );
  });

  test("evens out what it is fed with", () => {
    const slots = ["a/0", "b/0", "c/0", "d/0"];
    const sessions = new Map(slots.map((slot) => [slot, 0]));
    // A small generator with a fixed seed: the same draws in every run.
    let seed = 1;
    const draw = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (let at = 0; at < 20_000; at++) {
      const candidates = slots.map((slot) => candidate(slot, { ...idle, sessions: sessions.get(slot)! }));
      const chosen = chooseHost("a/0", candidates, spread, draw)!;
      sessions.set(chosen, sessions.get(chosen)! + 1);
    }
    for (const count of sessions.values()) expect(Math.abs(count - 5_000)).toBeLessThan(50);
  });
});

test("without a candidate that carries the labels there is no host", () => {
  expect(chooseHost("n1/0", [], defaultWish, noDraw)).toBeUndefined();
  expect(chooseHost("n1/0", [candidate("n1/0")], { ...spread, labels: { gpu: "yes" } }, noDraw)).toBeUndefined();
});

test("whoever is chosen is a candidate that carries the labels", () => {
  const load = fc.record({
    sessions: fc.nat(),
    utilisation: fc.double({ min: 0, max: 1, noNaN: true }),
    rssBytes: fc.nat(),
  });
  const labels = fc.dictionary(fc.constantFrom("disk", "zone"), fc.constantFrom("a", "b"), { noNullPrototype: true });
  const some = fc.uniqueArray(
    fc.record({ slot: fc.constantFrom("a/0", "b/0", "c/0", "d/0"), labels, load: fc.option(load, { nil: undefined }) }),
    { selector: (entry) => entry.slot },
  );
  const wishes = fc.record({ policy: fc.constantFrom("owner-first" as const, "spread" as const), labels });
  const number = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(fc.constantFrom("a/0", "z/0"), some, wishes, number, number, (owner, candidates, wish, a, b) => {
      const chosen = chooseHost(owner, candidates, wish, draws(a, b));
      const fit = candidates.filter((entry) => carries(entry.labels, wish.labels)).map((entry) => entry.slot);
      if (chosen === undefined) expect(fit).toEqual([]);
      else expect(fit).toContain(chosen);
    }),
  );
});

test("labels are carried when each wanted one is there with its value", () => {
  expect(carries({ disk: "ssd", zone: "a" }, { disk: "ssd" })).toBe(true);
  expect(carries({ disk: "ssd" }, {})).toBe(true);
  expect(carries({ disk: "ssd" }, { disk: "hdd" })).toBe(false);
  expect(carries({}, { toString: "x" })).toBe(false);
});
