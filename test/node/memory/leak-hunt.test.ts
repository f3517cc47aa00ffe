// Who is named, and who is not. Sessions are numbers here: how much each holds at each look.

import { beforeEach, expect, test } from "vitest";
import type { Footprint } from "../../../node/memory/footprint.ts";
import { LeakHunt, type Finding, type LeakHuntOptions } from "../../../node/memory/leak-hunt.ts";

const MIB = 1024 * 1024;
/** One pass, with time in it. */
const PASS_MS = 400;

interface Fake {
  readonly name: string;
  ended: boolean;
  bytes: () => number;
  /** What it refers to. */
  holds: readonly object[];
}

let nowMs: number;
let sessions: Fake[];
let hunt: LeakHunt<Fake>;
let leaders: Fake[];
let options: LeakHuntOptions<Fake>;
let unmeasurable: string[];

beforeEach(() => {
  nowMs = 0;
  sessions = [];
  leaders = [];
  unmeasurable = [];
  options = {
    sessions: () => sessions,
    leaders: () => leaders,
    measure: function* (session, foreign): Generator<void, Footprint> {
      yield;
      const seen = new Set(session.holds.filter((object) => !foreign(object)));
      // What is left of it when something of it does not count.
      return { bytes: seen.size === session.holds.length ? session.bytes() : 0, seen };
    },
    onUnmeasurable: ({ name }, error) => unmeasurable.push(`${name}: ${String(error)}`),
    growthBytesMin: 8 * MIB,
    now: () => nowMs,
  };
  hunt = new LeakHunt(options);
});

function session(name: string, bytes: () => number): Fake {
  const fake: Fake = { name, ended: false, bytes, holds: [{}] };
  sessions.push(fake);
  return fake;
}

function hunted(passes: number, urgent = false): Finding<Fake> | undefined {
  for (let pass = 0; pass < passes; pass++) {
    // As long as the clock stands still it goes on to the end of the pass.
    const found = hunt.run(1, urgent);
    if (found !== undefined) return found;
    nowMs += PASS_MS;
  }
  return undefined;
}

const growing = (perMs: number) => (): number => MIB + nowMs * perMs;

test("the one that grows is named with its size, among a thousand that only come and go", () => {
  for (let at = 0; at < 1_000; at++) session(`n${at}`, () => (1 + Math.sin(at + nowMs)) * 20 * MIB);
  const culprit = session("culprit", growing(10_000));
  const found = hunted(40);
  expect(found?.session).toBe(culprit);
  expect(found?.grownBytes).toBeGreaterThanOrEqual(8 * MIB);
  expect(found?.bytes).toBe((found?.grownBytes ?? 0) + MIB);
});

test("one that is large, or grew once, is not", () => {
  session("large", () => 500 * MIB);
  session("loaded", () => (nowMs > 1_000 ? 100 * MIB : 0));
  session("slow", growing(10));
  expect(hunted(40)).toBeUndefined();
});

test("one that grew and gave it back is not", () => {
  session("saw", () => (nowMs % 2_400) * 20_000);
  expect(hunted(60)).toBeUndefined();
});

test("of two that grow, the faster one is named first and the other one next", () => {
  const slow = session("slow", growing(10_000));
  const fast = session("fast", growing(20_000));
  expect(hunted(20)?.session).toBe(fast);
  fast.ended = true;
  expect(hunted(20)?.session).toBe(slow);
});

test("what sessions share is nobody's", () => {
  const cache = {};
  for (const name of ["one", "two", "three"]) session(name, growing(10_000)).holds = [{}, cache];
  expect(hunted(60)).toBeUndefined();
});

test("near the end of the heap three looks must do", () => {
  const culprit = session("culprit", growing(50_000));
  expect(hunted(4, true)?.session).toBe(culprit);
});

test("near the end of the heap no time is lost with a look at everybody", () => {
  let looks = 0;
  for (let at = 0; at < 2_000; at++) session(`n${at}`, () => (looks++, 1_000));
  const culprit = session("culprit", growing(50_000));
  hunted(2);
  looks = 0;
  expect(hunted(4, true)?.session).toBe(culprit);
  expect(looks).toBeLessThan(200);
});

test("one that allocates most is found while the first pass is still on its way through all of them", () => {
  let looks = 0;
  const count = (): number => {
    // Time goes by with the looks alone: no pass over so many of them would ever end.
    nowMs += 1;
    return (looks++, 1_000);
  };
  for (let at = 0; at < 100_000; at++) session(`n${at}`, count);
  const culprit = session("culprit", growing(50_000));
  leaders = [culprit];
  expect(hunt.run(5_000, false)?.session).toBe(culprit);
  expect(looks).toBeLessThan(5_000);
});

test("one that takes long to look at is looked at rarely, and found all the same", () => {
  let looks = 0;
  const lookMs = 400;
  const culprit = session("culprit", () => {
    looks++;
    nowMs += lookMs;
    return growing(10_000)();
  });
  leaders = [culprit];
  const beganMs = nowMs;
  let found: Finding<Fake> | undefined;
  while (found === undefined && nowMs < 60_000) {
    found = hunt.run(4, false);
    nowMs += 16;
  }
  expect(found?.session).toBe(culprit);
  // One more is the look at what it shares.
  expect((looks - 1) * lookMs).toBeLessThanOrEqual((nowMs - beganMs) / 4);
});

test("thousands of small ones are not looked at in one go", () => {
  let looks = 0;
  for (let at = 0; at < 5_000; at++) session(`n${at}`, () => ((nowMs += 0.1), looks++, 1_000));
  hunt.run(4, false);
  expect(looks).toBeLessThan(100);
});

test("a chance to pause among the sessions is no session", () => {
  const culprit = session("culprit", growing(10_000));
  const sparse = [undefined, ...sessions, undefined];
  hunt = new LeakHunt<Fake>({ ...options, sessions: () => sparse });
  expect(hunted(40)?.session).toBe(culprit);
});

test("the largest is the one that holds most by the last look, of those that live", () => {
  const large = session("large", () => 50 * MIB);
  const small = session("small", () => 5 * MIB);
  hunted(2);
  expect(hunt.largest()).toEqual({ session: large, bytes: 50 * MIB });
  large.ended = true;
  expect(hunt.largest()).toEqual({ session: small, bytes: 5 * MIB });
});

test("among more sessions than one pass looks at, none is left out", () => {
  for (let at = 0; at < 12_000; at++) session(`n${at}`, () => 1_000);
  const culprit = session("culprit", growing(10_000));
  for (let at = 0; at < 3_000; at++) session(`m${at}`, () => 1_000);
  expect(hunted(40)?.session).toBe(culprit);
});

test("one that cannot be measured is told once, and hides nobody", () => {
  session("strange", () => {
    throw new Error("not for you");
  });
  const culprit = session("culprit", growing(10_000));
  expect(hunted(40)?.session).toBe(culprit);
  expect(unmeasurable).toEqual(["strange: Error: not for you"]);
});
