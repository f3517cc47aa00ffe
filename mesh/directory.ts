// The directory of one worker: which sessions of its partitions live where, and what it has promised to other owners. Pure: views
// and answers in, decisions and questions out; whoever holds it does the asking.
//
// How it works. The host is the truth: a session exists because a live worker hosts it. The owner of a partition indexes
// that. A session that the owner hosts itself needs no entry, its host map is the entry; so in the usual case the
// directory is empty.
//
// A worker that becomes the owner of partitions at epoch E may know nothing of them. It asks every worker that can host:
// "what do you host there?" (Recover). Whoever answers promises to refuse, from then on, every grant for these
// partitions that is older than E. When all have answered, or have left the view, the answers are complete and nothing
// can be added behind the owner's back, so it opens the partitions for new sessions. The argument needs neither that
// views are seen by all in step nor that none is skipped: only that a grant carries its epoch.
//
// An owner that loses a partition forgets it at once; its grants under way are refused by whoever answered the new owner. It
// loses the partition no later than when it answers: it may never see the view in between that made the other one owner,
// only a later one that gives the partition back, and must then ask like any new owner.

import {
  canHost,
  canOwn,
  compareFences,
  emptyView,
  membersOf,
  parseSessionKey,
  type Fence,
  type HostedSession,
  type Member,
  type SessionKey,
  type View,
  type WorkerId,
} from "#proto";
import { PARTITIONS, emptyTable, ownerSlot, ownerTable, partitionOf, type OwnerTable } from "#placement";
import { PartitionSet } from "./partition-set.ts";

export type Location =
  /** The partition belongs to another worker, or to none. */
  | { readonly status: "foreign"; readonly owner: Member | undefined }
  /** Ours, but not all workers have told what they host in it. */
  | { readonly status: "recovering" }
  /** Ours in our view, but another worker has become its owner since: our view is behind. */
  | { readonly status: "ceded" }
  | { readonly status: "hosted"; readonly worker: Member }
  /** Ours, open, and no other worker hosts it. */
  | { readonly status: "vacant" };

/** Ask `members` what they host in `partitions`; the answers go to `recovered` with the same epoch. */
export interface Recovery {
  readonly epoch: number;
  readonly partitions: PartitionSet;
  readonly members: readonly Member[];
}

interface Round {
  readonly epoch: number;
  readonly partitions: PartitionSet;
  readonly waiting: Set<WorkerId>;
}

interface Entry {
  readonly worker: WorkerId;
  readonly fence: Fence;
}

const FOREIGN = 0;
const RECOVERING = 1;
const OPEN = 2;

export class Directory {
  readonly #self: WorkerId;
  #view: View = emptyView;
  #table: OwnerTable = emptyTable;
  #members = new Map<WorkerId, Member>();
  #owners = new Map<string, Member>();
  /** FOREIGN, RECOVERING or OPEN a partition. Invariant: FOREIGN where the table's owner is another worker. */
  readonly #state = new Uint8Array(PARTITIONS);
  /** Epoch of the view that made a partition ours. */
  readonly #gainedEpoch = new Float64Array(PARTITIONS);
  #rounds: Round[] = [];
  /** Invariant: only keys of our partitions, only workers of the view, never ourselves. */
  readonly #entries = new Map<SessionKey, Entry>();
  // The oldest grant that may still activate something here, a partition. Invariant: never falls.
  readonly #promisedEpoch = new Float64Array(PARTITIONS);
  readonly #promisedClaim = new Float64Array(PARTITIONS);
  #claims = 0;

  constructor(self: WorkerId) {
    this.#self = self;
  }

  get view(): View {
    return this.#view;
  }

  get entryCount(): number {
    return this.#entries.size;
  }

  /** Partitions that are ours and not open yet. */
  get recoveringCount(): number {
    return this.#state.reduce((sum, state) => sum + (state === RECOVERING ? 1 : 0), 0);
  }

  member(id: WorkerId): Member | undefined {
    return this.#members.get(id);
  }

  get members(): IterableIterator<Member> {
    return this.#members.values();
  }

  ownerOf(partition: number): Member | undefined {
    const slot = ownerSlot(this.#table, partition);
    return slot === undefined ? undefined : this.#owners.get(slot);
  }

  /** True when this worker owns the partition and may place new sessions in it. */
  isOpen(partition: number): boolean {
    return this.#state[partition] === OPEN;
  }

  /**
   * Takes a newer view; an older one is ignored. Returns what to ask: at most one question a worker and view.
   * Questions of earlier views that were not answered stay open: their answers still count.
   */
  viewChanged(view: View): Recovery | undefined {
    if (view.epoch <= this.#view.epoch) return undefined;
    const members = membersOf(view);
    const owning = members.filter(canOwn);
    this.#view = view;
    this.#members = new Map(members.map((member) => [member.id, member]));
    this.#owners = new Map(owning.map((member) => [member.slot, member]));
    this.#table = ownerTable(this.#owners.keys(), this.#table);

    const gained = this.#updateStates();
    this.#dropStaleEntries();
    for (const round of this.#rounds) {
      for (const id of round.waiting) if (!this.#members.has(id)) round.waiting.delete(id);
      for (const partition of round.partitions)
        if (this.#state[partition] === FOREIGN) round.partitions.delete(partition);
    }
    const recovery = gained === undefined ? undefined : this.#startRound(gained, members);
    this.#finishRounds();
    return recovery;
  }

  /** `from` has told all that it hosts in the partitions it was asked for at `epoch`. */
  recovered(from: WorkerId, epoch: number, sessions: readonly HostedSession[]): void {
    const rounds = this.#rounds.filter((round) => round.epoch === epoch && round.waiting.has(from));
    if (rounds.length === 0) return;
    for (const session of sessions)
      this.#learn(parseSessionKey(session.key).key, { worker: from, fence: session.fence });
    for (const round of rounds) round.waiting.delete(from);
    this.#finishRounds();
  }

  /** Where the session is, as far as this worker may tell. `isHere` says whether this worker hosts it. */
  locate(key: SessionKey, partition: number): Location {
    const state = this.#state[partition];
    if (state === FOREIGN) {
      const owner = this.ownerOf(partition);
      return owner?.id === this.#self ? { status: "ceded" } : { status: "foreign", owner };
    }
    const entry = this.#entries.get(key);
    const worker = entry === undefined ? undefined : this.#members.get(entry.worker);
    if (worker !== undefined) return { status: "hosted", worker };
    if (state === RECOVERING) return { status: "recovering" };
    return { status: "vacant" };
  }

  /** A token for a new activation, newer than all that this worker has given. */
  claim(): Fence {
    return { epoch: this.#view.epoch, claim: ++this.#claims };
  }

  /** A grant is on its way to `worker`; until it is known to have failed, the session counts as hosted there. */
  granted(key: SessionKey, worker: WorkerId, fence: Fence): void {
    this.#learn(key, { worker, fence });
  }

  /** The worker says that it does not host the session, and has promised not to activate it on a grant given so far. */
  denied(key: SessionKey, worker: WorkerId): void {
    if (this.#entries.get(key)?.worker === worker) this.#entries.delete(key);
  }

  /** A server has ended. Only the very activation that is indexed is taken out. */
  ended(worker: WorkerId, key: SessionKey, fence: Fence): void {
    const entry = this.#entries.get(key);
    if (entry?.worker === worker && compareFences(entry.fence, fence) === 0) this.#entries.delete(key);
  }

  /** From now on no grant older than `floor` activates anything in the partition on this worker. */
  promise(partition: number, floor: Fence): void {
    if (this.#isPromised(partition, floor)) return;
    this.#promisedEpoch[partition] = floor.epoch;
    this.#promisedClaim[partition] = floor.claim;
    if (this.#state[partition] !== FOREIGN && floor.epoch > (this.#gainedEpoch[partition] ?? 0)) this.#cede(partition);
  }

  /** False when the grant is older than what was promised to a later owner. */
  mayActivate(partition: number, fence: Fence): boolean {
    return fence.epoch === (this.#promisedEpoch[partition] ?? 0)
      ? fence.claim >= (this.#promisedClaim[partition] ?? 0)
      : fence.epoch > (this.#promisedEpoch[partition] ?? 0);
  }

  /** True when `floor` adds nothing to what is promised already. */
  #isPromised(partition: number, floor: Fence): boolean {
    const epoch = this.#promisedEpoch[partition] ?? 0;
    return floor.epoch < epoch || (floor.epoch === epoch && floor.claim <= (this.#promisedClaim[partition] ?? 0));
  }

  #cede(partition: number): void {
    this.#state[partition] = FOREIGN;
    for (const round of this.#rounds) round.partitions.delete(partition);
  }

  #learn(key: SessionKey, entry: Entry): void {
    if (entry.worker === this.#self || this.#state[partitionOf(key)] === FOREIGN) return;
    const known = this.#entries.get(key);
    if (known === undefined || compareFences(known.fence, entry.fence) < 0) this.#entries.set(key, entry);
  }

  /** The partitions that are newly ours. */
  #updateStates(): PartitionSet | undefined {
    const own = this.#members.get(this.#self);
    const index = own === undefined || !canOwn(own) ? -2 : this.#table.slots.indexOf(own.slot);
    let gained: PartitionSet | undefined;
    const state = this.#state;
    const { owners } = this.#table;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (owners[partition] !== index) {
        state[partition] = FOREIGN;
      } else if (state[partition] === FOREIGN && (this.#promisedEpoch[partition] ?? 0) <= this.#view.epoch) {
        // A view older than a promise of ours cannot make us owner: whom we promised knows a newer one.
        state[partition] = RECOVERING;
        this.#gainedEpoch[partition] = this.#view.epoch;
        gained ??= new PartitionSet();
        gained.add(partition);
      }
    }
    return gained;
  }

  #startRound(partitions: PartitionSet, members: readonly Member[]): Recovery {
    const epoch = this.#view.epoch;
    // We are a host too: a grant from the former owner may be on its way to us.
    for (const partition of partitions) this.promise(partition, { epoch, claim: 0 });
    const asked = members.filter((member) => canHost(member) && member.id !== this.#self);
    this.#rounds.push({ epoch, partitions, waiting: new Set(asked.map((member) => member.id)) });
    return { epoch, partitions, members: asked };
  }

  #finishRounds(): void {
    this.#rounds = this.#rounds.filter((round) => {
      if (round.waiting.size > 0) return true;
      for (const partition of round.partitions) {
        if (this.#state[partition] === RECOVERING) this.#state[partition] = OPEN;
      }
      return false;
    });
  }

  #dropStaleEntries(): void {
    for (const [key, entry] of this.#entries) {
      if (!this.#members.has(entry.worker) || this.#state[partitionOf(key)] === FOREIGN) this.#entries.delete(key);
    }
  }
}
