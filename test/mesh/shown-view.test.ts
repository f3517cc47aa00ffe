import { beforeEach, describe, expect, test } from "vitest";
import { memoryBucket, type Kv } from "#mesh";
import { MeshError, encodeLease, type LiveLease } from "#proto";
import { allShow } from "../../mesh/shown-view.ts";
import { viewOf } from "./views.ts";

const ids = ["n1", "n2", "n3", "n4", "n5", "n6"];
const { nodes } = viewOf(
  4,
  ids.map((id) => ({ id, workers: ["a"] })),
);

let kv: Kv;
/** What was written last before the others showed anything. */
let since: number;

const live = (id: string, lease: Partial<LiveLease> = {}): Uint8Array =>
  encodeLease({ state: "live", incarnation: `${id}-1`, beat: 1, epoch: 4, view: "op", opId: "x", load: [], ...lease });

async function write(id: string, value: Uint8Array): Promise<number> {
  const before = await kv.get(`lease.${id}`);
  const written = await (before === undefined
    ? kv.create(`lease.${id}`, value)
    : kv.update(`lease.${id}`, value, before.revision));
  return written.status === "written" ? written.revision : -1;
}

beforeEach(async () => {
  kv = memoryBucket().open();
  since = 0;
  for (const id of ids) since = await write(id, live(id));
});

const shown = (): Promise<boolean> => allShow(kv, nodes, "op", since);

describe("all nodes show a view", () => {
  test("when each of them has since, whatever they showed before", async () => {
    expect(await shown()).toBe(false);
    for (const id of ids) await write(id, live(id));
    expect(await shown()).toBe(true);
    expect(await allShow(kv, nodes, "another", since)).toBe(false);
    expect(await allShow(kv, [], "another", since)).toBe(true);
  });

  test.each([
    ["shows another view", live("n5", { view: "other" })],
    ["is about to take somebody out of it", live("n5", { view: "" })],
    ["is another life of its node", live("n5", { incarnation: "n5-2" })],
    ["was evicted", encodeLease({ state: "evicted", incarnation: "n5-1", by: "n1", opId: "x" })],
  ])("but not while one %s", async (_, value) => {
    for (const id of ids) await write(id, id === "n5" ? value : live(id));
    expect(await shown()).toBe(false);
  });

  test("but not while one is silent, or has no lease", async () => {
    for (const id of ids) if (id !== "n6") await write(id, live(id));
    expect(await shown()).toBe(false);
    const entry = await kv.get("lease.n6");
    await kv.remove("lease.n6", entry?.revision ?? 0);
    expect(await shown()).toBe(false);
  });

  test("which nobody can say while a lease cannot be read", async () => {
    const away = { get: () => Promise.reject(new MeshError("registry_unavailable", "away")) };
    await expect(allShow(away, nodes, "op", 0)).rejects.toMatchObject({ code: "registry_unavailable" });
  });
});
