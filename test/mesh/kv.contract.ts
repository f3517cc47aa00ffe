// What every adapter of the key-value port must do. Each adapter's test file runs it over buckets of its own.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Kv, KvEntry } from "#mesh";
import { MeshError } from "#proto";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (entry: { value: Uint8Array | undefined } | undefined): string | undefined =>
  entry?.value === undefined ? undefined : new TextDecoder().decode(entry.value);

/** `open` makes a client of one fresh bucket a test: the first call of a test makes the bucket, later ones join it. */
export function kvContract(adapter: string, fresh: () => Promise<() => Promise<Kv>>): void {
  describe(`${adapter} keeps the contract of the key-value port`, () => {
    let open: () => Promise<Kv>;
    let kv: Kv;
    const opened: Kv[] = [];
    beforeEach(async () => {
      const client = await fresh();
      open = async () => {
        const next = await client();
        opened.push(next);
        return next;
      };
      kv = await open();
    });
    afterEach(async () => {
      for (const next of opened.splice(0)) await next.close();
    });

    const written = async (write: ReturnType<Kv["create"]>): Promise<number> => {
      const result = await write;
      if (result.status !== "written") throw new Error(`expected a write, got ${result.status}`);
      return result.revision;
    };

    test("a key that was never written is not there", async () => {
      expect(await kv.get("view")).toBeUndefined();
      expect(await kv.list()).toEqual([]);
    });

    test("what one client creates every client reads, with its revision", async () => {
      const revision = await written(kv.create("lease.n1", bytes("one")));
      const entry = await (await open()).get("lease.n1");
      expect(textOf(entry)).toBe("one");
      expect(entry).toMatchObject({ key: "lease.n1", revision });
    });

    test("creating a key that is there is a conflict and changes nothing", async () => {
      await written(kv.create("view", bytes("first")));
      expect(await kv.create("view", bytes("second"))).toEqual({ status: "conflict" });
      expect(textOf(await kv.get("view"))).toBe("first");
    });

    test("an update needs the last revision of its own key, whatever other keys do", async () => {
      const revision = await written(kv.create("view", bytes("1")));
      await written(kv.create("lease.n1", bytes("x")));
      const next = await written(kv.update("view", bytes("2"), revision));
      expect(next).toBeGreaterThan(revision);
      expect(await kv.update("view", bytes("3"), revision)).toEqual({ status: "conflict" });
      expect(textOf(await kv.get("view"))).toBe("2");
    });

    test("updating a key that is not there is a conflict", async () => {
      expect(await kv.update("view", bytes("1"), 7)).toEqual({ status: "conflict" });
    });

    test("of many who write the same revision one wins", async () => {
      const revision = await written(kv.create("view", bytes("0")));
      const clients = await Promise.all(Array.from({ length: 5 }, () => open()));
      const results = await Promise.all(
        clients.map((client, at) => client.update("view", bytes(String(at)), revision)),
      );
      const winners = results.flatMap((result, at) => (result.status === "written" ? [String(at)] : []));
      expect(winners).toHaveLength(1);
      expect(textOf(await kv.get("view"))).toBe(winners[0]);
    });

    test("of many who create a key one wins", async () => {
      const clients = await Promise.all(Array.from({ length: 5 }, () => open()));
      const results = await Promise.all(clients.map((client) => client.create("view", bytes("x"))));
      expect(results.filter((result) => result.status === "written")).toHaveLength(1);
      expect(results.filter((result) => result.status === "conflict")).toHaveLength(4);
    });

    test("a removed key is gone, and can be created again with a higher revision", async () => {
      const revision = await written(kv.create("lease.n1", bytes("1")));
      expect((await kv.remove("lease.n1", revision)).status).toBe("written");
      expect(await kv.get("lease.n1")).toBeUndefined();
      expect(await kv.list()).toEqual([]);
      expect(await kv.update("lease.n1", bytes("2"), revision)).toEqual({ status: "conflict" });
      expect(await written(kv.create("lease.n1", bytes("3")))).toBeGreaterThan(revision);
      expect(textOf(await kv.get("lease.n1"))).toBe("3");
    });

    test("removing needs the last revision", async () => {
      const revision = await written(kv.create("lease.n1", bytes("1")));
      await written(kv.update("lease.n1", bytes("2"), revision));
      expect(await kv.remove("lease.n1", revision)).toEqual({ status: "conflict" });
      expect(textOf(await kv.get("lease.n1"))).toBe("2");
    });

    test("the list holds every live entry once", async () => {
      for (const key of ["view", "lease.n1", "lease.host.example-1", "lease.n_2"])
        await written(kv.create(key, bytes(key)));
      const gone = await written(kv.create("lease.gone", bytes("x")));
      await kv.remove("lease.gone", gone);
      const entries = (await kv.list()).map((entry: KvEntry) => `${entry.key}=${textOf(entry)}`).sort();
      expect(entries).toEqual([
        "lease.host.example-1=lease.host.example-1",
        "lease.n1=lease.n1",
        "lease.n_2=lease.n_2",
        "view=view",
      ]);
    });

    test("a watch shows the writes and removals of others until it is stopped", async () => {
      const seen: string[] = [];
      let notify = (): void => {};
      const stop = await kv.watch(
        (entry) => {
          seen.push(`${entry.key}=${textOf(entry) ?? "removed"}@${entry.revision}`);
          notify();
        },
        () => {},
      );
      const until = async (line: string): Promise<void> => {
        while (!seen.includes(line)) await new Promise<void>((resolve) => (notify = resolve));
      };
      const other = await open();
      const first = await written(other.create("view", bytes("1")));
      await until(`view=1@${first}`);
      const removed = await written(other.remove("view", first));
      await until(`view=removed@${removed}`);
      stop();
      const count = seen.length;
      await written(other.create("view", bytes("2")));
      await kv.get("view");
      expect(seen).toHaveLength(count);
    });

    test("after close a client reads with registry_unavailable and writes with unknown", async () => {
      await kv.close();
      const failure = await kv.get("view").catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(MeshError);
      expect(failure).toMatchObject({ code: "registry_unavailable" });
      await expect(kv.list()).rejects.toMatchObject({ code: "registry_unavailable" });
      expect(await kv.create("view", bytes("1"))).toEqual({ status: "unknown" });
      expect(await (await open()).get("view")).toBeUndefined();
    });
  });
}
