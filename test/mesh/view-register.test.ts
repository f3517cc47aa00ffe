// How a change gets into the stored view, write by write.

import { beforeEach, expect, test } from "vitest";
import { ViewRegister } from "../../mesh/view-register.ts";
import { memoryBucket } from "#mesh";
import { encodeView, type View } from "#proto";
import { fakeClock, type FakeClock } from "../infra/fake-clock.ts";
import { faulty, storedView, type FaultyKv } from "./membership-nodes.ts";

let clock: FakeClock;
let kv: FaultyKv;
let register: ViewRegister;
const seen: View[] = [];

beforeEach(() => begin(0));

function begin(foundHoldMs: number): void {
  clock = fakeClock();
  kv = faulty(memoryBucket().open());
  seen.length = 0;
  register = new ViewRegister({
    kv,
    writer: "n1-1",
    draw: Math.random,
    clock,
    log: () => {},
    closing: new AbortController().signal,
    mayRepair: () => true,
    repairHoldMs: 1_000,
    foundHoldMs,
    founding: () => "founded",
    overrules: () => true,
    onOverruled: () => {},
    onView: (view) => void seen.push(view),
  });
}

/** Changes the view each time it is asked, so doing it twice would show. */
const oneMore = (base: View): View => ({ ...base, epoch: base.epoch + 1 });

test("a write whose answer was lost is recognised by its opId, and not made twice", async () => {
  let writes = 0;
  kv.fate = () => (++writes === 1 ? "silent" : "written");
  const change = register.change(oneMore, 5_000);
  await clock.advance(1_000);
  expect((await change).epoch).toBe(1);
  expect(writes).toBe(1);
  expect(await storedView(kv)).toEqual(seen[0]);
  expect(seen).toHaveLength(1);
});

test("a write that was lost is made again", async () => {
  let writes = 0;
  kv.fate = () => (++writes <= 2 ? "lost" : "written");
  const change = register.change(oneMore, 5_000);
  await clock.advance(1_000);
  expect((await change).epoch).toBe(1);
  expect(writes).toBe(3);
});

test("without answers a change ends with registry_unavailable after its limit", async () => {
  kv.cut = true;
  const change = register.change(oneMore, 5_000);
  change.catch(() => {});
  await clock.advance(4_900);
  await clock.advance(1_000);
  await expect(change).rejects.toMatchObject({ code: "registry_unavailable" });
  expect(seen).toEqual([]);
});

test("views are told in the order of their epochs, whatever order they come in", async () => {
  register.adopt({ epoch: 3, founding: "one", opId: "c", nodes: [] });
  register.adopt({ epoch: 2, founding: "one", opId: "b", nodes: [] });
  register.adopt({ epoch: 3, founding: "one", opId: "c", nodes: [] });
  expect(seen.map((view) => view.epoch)).toEqual([3]);
});

test("an empty registry is left to those who may have filled it before", async () => {
  begin(3_000);
  const change = register.change(oneMore, 10_000);
  await clock.advance(2_900);
  expect(await storedView(kv)).toBeUndefined();
  await kv.create("view", encodeView({ epoch: 7, founding: "one", opId: "theirs", nodes: [] }));
  await clock.advance(1_000);
  expect((await change).epoch).toBe(8);
});

test("a registry that stays empty is founded in when the hold is over", async () => {
  begin(3_000);
  const change = register.change(oneMore, 10_000);
  await clock.advance(4_000);
  expect((await change).epoch).toBe(1);
});

test("a registry that takes the view and does not show it is told it ever more seldom, and at once when it is lost again later", async () => {
  await register.change(oneMore, 1_000);
  register.member = true;
  let proposed = 0;
  const { create, get } = kv;
  kv.get = async () => undefined;
  kv.create = async () => ({ status: "written", revision: ++proposed });
  const read = (): void => void register.change((base) => base, 0).catch(() => {});
  for (let ms = 0; ms < 10_000; ms += 20) {
    read();
    await clock.advance(20);
  }
  expect(proposed).toBeLessThan(20);
  expect(proposed).toBeGreaterThan(10);

  Object.assign(kv, { create, get });
  read();
  await clock.advance(1_000);
  const stored = await kv.get("view");
  await kv.remove("view", stored?.revision ?? 0);
  read();
  await clock.advance(1);
  expect(await storedView(kv)).toBeDefined();
});
