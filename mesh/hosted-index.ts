// The sessions that one worker hosts, by partition, so that telling a new owner what is here costs what there is to tell and no look at
// all the others: with 20 workers a change of the view would else cost 20 looks at everything. The host below is the truth; this
// follows its activations and ends.

import { compareFences, type Fence, type HostedSession, type SessionKey } from "#proto";
import { PARTITIONS } from "#placement";

export class HostedIndex {
  /** Invariant: no empty lists. A million sessions are 61 in each: to search one costs less than a map for each partition. */
  readonly #sessions: (HostedSession[] | undefined)[] = Array.from({ length: PARTITIONS });

  activated(key: SessionKey, partition: number, fence: Fence): void {
    const session = { key, fence };
    const list = this.#sessions[partition];
    if (list === undefined) this.#sessions[partition] = [session];
    else list.push(session);
  }

  /** The very activation: a later one of the name stays. */
  ended(key: SessionKey, partition: number, fence: Fence): void {
    const list = this.#sessions[partition];
    const at = list?.findIndex((session) => session.key === key && compareFences(session.fence, fence) === 0) ?? -1;
    if (list === undefined || at < 0) return;
    const last = list.pop();
    if (last !== undefined && at < list.length) list[at] = last;
    if (list.length === 0) this.#sessions[partition] = undefined;
  }

  in(partitions: Iterable<number>): HostedSession[] {
    const found: HostedSession[] = [];
    for (const partition of partitions) {
      const list = this.#sessions[partition];
      if (list !== undefined) for (const session of list) found.push(session);
    }
    return found;
  }
}
