// A bucket in the memory of this process, for `mesh dev` and for tests. Any number of handles over one bucket behave as clients of
// one registry. Nothing outlives the process.

import { MeshError } from "#proto";
import type { Kv, KvEntry, KvWrite } from "./port.ts";

export interface MemoryBucket {
  /** A client of the bucket. */
  open(): Kv;
}

type Change = Parameters<Parameters<Kv["watch"]>[0]>[0];

export function memoryBucket(): MemoryBucket {
  const entries = new Map<string, KvEntry>();
  const watchers = new Set<(change: Change) => void>();
  let last = 0;

  const publish = (change: Change): KvWrite => {
    // Asked again when it is due: whoever has stopped watching by then must not hear of it.
    for (const watcher of watchers) queueMicrotask(() => watchers.has(watcher) && watcher(change));
    return { status: "written", revision: change.revision };
  };
  const put = (key: string, value: Uint8Array): KvWrite => {
    const entry = { key, value: value.slice(), revision: ++last };
    entries.set(key, entry);
    return publish(entry);
  };

  return {
    open(): Kv {
      const mine = new Set<(change: Change) => void>();
      let closed = false;
      const read = <T>(value: () => T): Promise<T> =>
        closed
          ? Promise.reject(new MeshError("registry_unavailable", "this handle of the memory bucket is closed"))
          : Promise.resolve(value());
      const write = (operation: () => KvWrite): Promise<KvWrite> =>
        Promise.resolve(closed ? { status: "unknown" } : operation());

      return {
        get: (key) => read(() => entries.get(key)),
        list: () => read(() => [...entries.values()]),
        create: (key, value) => write(() => (entries.has(key) ? { status: "conflict" } : put(key, value))),
        update: (key, value, revision) =>
          write(() => (entries.get(key)?.revision === revision ? put(key, value) : { status: "conflict" })),
        remove: (key, revision) =>
          write(() => {
            if (entries.get(key)?.revision !== revision) return { status: "conflict" };
            entries.delete(key);
            return publish({ key, value: undefined, revision: ++last });
          }),
        watch: (onEntry) =>
          read(() => {
            const watcher = (change: Change): void => onEntry(change);
            watchers.add(watcher);
            mine.add(watcher);
            return () => {
              watchers.delete(watcher);
              mine.delete(watcher);
            };
          }),
        close: () => {
          closed = true;
          for (const watcher of mine) watchers.delete(watcher);
          mine.clear();
          return Promise.resolve();
        },
      };
    },
  };
}
