// The sessions that one worker hosts, so that telling a new owner what is here costs a walk through numbers and no look at the sessions
// themselves: with 20 workers a change of the view would else cost 20 looks at everything. The host below is the truth; this follows
// its activations and ends. New sessions go to the end of three lists, whose ends are in the processor's cache: a list for each partition
// is not, which takes a new session 1.5 us longer.

import { compareFences, type Fence, type HostedSession, type SessionKey } from "#proto";
import { PARTITIONS } from "#placement";

/** A token that knows its session's place in the index. The host keeps it anyway and gives it back at the end. */
class PlacedFence implements Fence {
  readonly epoch: number;
  readonly claim: number;
  place: number;

  constructor({ epoch, claim }: Fence, place: number) {
    this.epoch = epoch;
    this.claim = claim;
    this.place = place;
  }
}

export class HostedIndex {
  readonly #keys: SessionKey[] = [];
  readonly #partitions: number[] = [];
  readonly #fences: PlacedFence[] = [];

  /** Returns the token that the end is to be told with. */
  activated(key: SessionKey, partition: number, fence: Fence): Fence {
    const placed = new PlacedFence(fence, this.#keys.length);
    this.#keys.push(key);
    this.#partitions.push(partition);
    this.#fences.push(placed);
    return placed;
  }

  /** The very activation: a later one of the name stays. */
  ended(key: SessionKey, fence: Fence): void {
    const place = fence instanceof PlacedFence ? fence.place : this.#find(key, fence);
    if (place < 0 || this.#fences[place] === undefined || this.#keys[place] !== key) return;
    if (compareFences(this.#fences[place], fence) !== 0) return;
    fillGap(this.#keys, place);
    fillGap(this.#partitions, place);
    fillGap(this.#fences, place);
    const moved = this.#fences[place];
    if (moved !== undefined) moved.place = place;
  }

  in(wanted: Iterable<number>): HostedSession[] {
    if (this.#keys.length === 0) return [];
    const isWanted = new Uint8Array(PARTITIONS);
    for (const partition of wanted) isWanted[partition] = 1;
    const found: HostedSession[] = [];
    const partitions = this.#partitions;
    for (let place = 0; place < partitions.length; place++) {
      if (isWanted[partitions[place] ?? 0] !== 1) continue;
      const key = this.#keys[place];
      const fence = this.#fences[place];
      if (key !== undefined && fence !== undefined) found.push({ key, fence });
    }
    return found;
  }

  /** For a token that was copied on its way. */
  #find(key: SessionKey, fence: Fence): number {
    return this.#fences.findIndex((placed, at) => this.#keys[at] === key && compareFences(placed, fence) === 0);
  }
}

/** The last element takes the place of the one that goes. */
function fillGap(list: unknown[], at: number): void {
  const last = list.pop();
  if (last !== undefined && at < list.length) list[at] = last;
}
