// Rendezvous (highest random weight) hashing of partitions onto slots. A slot is `node/index`: it keeps its weight when
// its worker restarts, so a restart moves only the partitions of that worker, and they come back to it.
// A slot that joins takes a partition only from its present owner; one that leaves gives its partitions to the others;
// no partition moves between two slots that stay.

import { PARTITIONS, avalanche, hash } from "./partition.ts";

/** No slot owns the partition: the view has no worker that may own one. */
export const UNOWNED = -1;

export interface OwnerTable {
  /** In ascending order. */
  readonly slots: readonly string[];
  /** Index into `slots` for each partition, or UNOWNED. */
  readonly owners: Int16Array;
}

export const emptyTable: OwnerTable = { slots: [], owners: new Int16Array(PARTITIONS).fill(UNOWNED) };

/** By partition: what its weights are drawn with. */
const SALTS = Uint32Array.from({ length: PARTITIONS }, (_, partition) => avalanche(partition + 1));

/** The table for `slots`, worked out from `previous` where its owners still stand. The result depends on `slots` alone. */
export function ownerTable(slotNames: Iterable<string>, previous: OwnerTable = emptyTable): OwnerTable {
  const slots = [...new Set(slotNames)].sort();
  const seeds = slots.map(hash);
  const index = new Map(slots.map((slot, at) => [slot, at]));
  const before = new Set(previous.slots);
  const added = slots.flatMap((slot, at) => (before.has(slot) ? [] : [at]));
  const everyone = slots.map((_, at) => at);
  const moved = previous.slots.map((slot) => index.get(slot) ?? UNOWNED);

  const owners = new Int16Array(PARTITIONS);
  const isSame = added.length === 0;
  // This loop is run by every worker at every loss, when names wait for it and it is seldom compiled yet: it does little for those who stay.
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const held = previous.owners[partition] ?? UNOWNED;
    const stays = held === UNOWNED ? UNOWNED : (moved[held] ?? UNOWNED);
    // Whoever won before still beats everyone who was there before, so only newcomers can take it from them.
    owners[partition] =
      isSame && stays !== UNOWNED ? stays : heaviest(partition, stays, stays === UNOWNED ? everyone : added, seeds);
  }
  return { slots, owners };
}

export function ownerSlot(table: OwnerTable, partition: number): string | undefined {
  const owner = table.owners[partition] ?? UNOWNED;
  return owner === UNOWNED ? undefined : table.slots[owner];
}

/** `members` by their rendezvous weight for `key`, heaviest first: an order that all agree on without talking. */
export function rendezvousOrder(key: string, members: readonly string[]): string[] {
  const salt = hash(key);
  return members
    .map((member) => ({ member, weight: avalanche(hash(member) ^ salt) }))
    .sort((a, b) => b.weight - a.weight || (a.member < b.member ? -1 : 1))
    .map((entry) => entry.member);
}

/**
 * The first in that order, without working out the rest; undefined of nobody.
 * @param hashes of the members, where they are at hand
 */
export function rendezvousFirst(
  key: string,
  members: readonly string[],
  hashes: readonly number[] = members.map(hash),
): string | undefined {
  const salt = hash(key);
  let first: string | undefined;
  let firstWeight = -1;
  for (let at = 0; at < members.length; at++) {
    const weight = avalanche((hashes[at] ?? 0) ^ salt);
    if (weight < firstWeight) continue;
    const member = members[at] ?? "";
    if (weight === firstWeight && first !== undefined && first < member) continue;
    first = member;
    firstWeight = weight;
  }
  return first;
}

function heaviest(partition: number, start: number, challengers: readonly number[], seeds: readonly number[]): number {
  const salt = SALTS[partition] ?? 0;
  let best = start;
  let bestWeight = start === UNOWNED ? -1 : avalanche((seeds[start] ?? 0) ^ salt);
  for (const challenger of challengers) {
    const weight = avalanche((seeds[challenger] ?? 0) ^ salt);
    // Equal weights go to the slot that sorts first, whoever held the partition before.
    if (weight > bestWeight || (weight === bestWeight && challenger < best)) {
      best = challenger;
      bestWeight = weight;
    }
  }
  return best;
}
