// Facade of placement/: pure functions from views and loads to decisions. No I/O, no clock, no randomness of its own.

export {
  carries,
  chooseHost,
  defaultWish,
  type Candidate,
  type CandidateLoad,
  type PlacementWish,
} from "./choose-host.ts";
export { PARTITIONS, hash, partitionOf } from "./partition.ts";
export {
  UNOWNED,
  emptyTable,
  ownerSlot,
  ownerTable,
  rendezvousFirst,
  rendezvousOrder,
  type OwnerTable,
} from "./rendezvous.ts";
