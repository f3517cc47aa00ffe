// The key-value port of the registry: a bucket with compare-and-set. Two adapters: NATS JetStream (../nats/bucket.ts) and memory
// (memory.ts, for `mesh dev` and tests). Both run the contract suite in kv.contract.ts.

export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Rises with every write to the bucket; survives deletes. */
  readonly revision: number;
}

export type KvWrite =
  | { readonly status: "written"; readonly revision: number }
  /** Somebody else wrote first. */
  | { readonly status: "conflict" }
  /** No answer: the write may have happened, may yet happen, or never will. Read again; never take it for a failure. */
  | { readonly status: "unknown" };

export interface Kv {
  /** Reads through the leader: MUST NOT answer from a replica that may lag. Undefined when there is no such key or it was deleted. Throws `registry_unavailable`. */
  get(key: string): Promise<KvEntry | undefined>;
  /** Every live entry. Throws `registry_unavailable`. */
  list(): Promise<KvEntry[]>;
  /** Writes only when the key does not exist (or was deleted). MUST NOT reject. */
  create(key: string, value: Uint8Array): Promise<KvWrite>;
  /** Writes only when the key's last revision is `revision`. MUST NOT reject. */
  update(key: string, value: Uint8Array, revision: number): Promise<KvWrite>;
  /** Deletes when the key's last revision is `revision`. MUST NOT reject. */
  remove(key: string, revision: number): Promise<KvWrite>;
  /**
   * Calls `onEntry` with each write soon after it happened, value undefined for a delete. A hint: it MAY miss writes, repeat them or be late.
   * `onGap` says that writes may have been missed (a reconnect): read again.
   */
  watch(
    onEntry: (entry: KvEntry | { readonly key: string; readonly value: undefined; readonly revision: number }) => void,
    onGap: () => void,
  ): Promise<() => void>;
  close(): Promise<void>;
}
