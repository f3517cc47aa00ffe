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
//
// What a worker has not told yet is one question, however many views made it ours one after the other: when half of a large mesh ends,
// each of them would else ask everybody again.

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

/** Partitions that became ours at one moment, and who has not told yet what it hosts in them. */
interface Round {
  readonly partitions: PartitionSet;
  readonly waiting: Set<WorkerId>;
}

/** What one worker is to be asked: all that it has not told us yet, however many views that took. The answer goes to `recovered`. */
export interface Question {
  readonly epoch: number;
  /** Those of this moment: they may get fewer. */
  readonly partitions: PartitionSet;
  readonly rounds: readonly Round[];
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
  #recovering = 0;

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
    return this.#recovering;
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

  /** Takes a newer view; an older one is ignored. After it `unheard` may have grown. What was asked before stays open: its answers count. */
  viewChanged(view: View): void {
    if (view.epoch <= this.#view.epoch) return;
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
    this.#rounds = this.#rounds.filter((round) => !round.partitions.empty);
    if (gained !== undefined) this.#startRound(gained);
    this.#finishRounds();
  }

  /** The workers that have not told all that we have to know. */
  get unheard(): Member[] {
    const ids = new Set(this.#rounds.flatMap((round) => [...round.waiting]));
    return [...ids].flatMap((id) => this.#members.get(id) ?? []);
  }

  /**
   * What to ask this worker now; undefined: nothing. It may be asked at a later epoch than the partitions became ours at: it promises more
   * by that, which nobody but an earlier owner minds.
   */
  question(of: WorkerId): Question | undefined {
    const rounds = this.#rounds.filter((round) => round.waiting.has(of));
    const [first] = rounds;
    if (first === undefined) return undefined;
    let { partitions } = first;
    if (rounds.length > 1) {
      partitions = new PartitionSet();
      for (const round of rounds) partitions.addAll(round.partitions);
    }
    return { epoch: this.#view.epoch, partitions, rounds };
  }

  /** `from` has told all that it hosts in what it was asked for. True: that may be what a request waits for. */
  recovered(from: WorkerId, question: Question, sessions: readonly HostedSession[]): boolean {
    const rounds = question.rounds.filter((round) => this.#rounds.includes(round) && round.waiting.has(from));
    if (rounds.length === 0) return false;
    for (const session of sessions)
      this.#learn(parseSessionKey(session.key).key, { worker: from, fence: session.fence });
    for (const round of rounds) round.waiting.delete(from);
    return this.#finishRounds() || sessions.length > 0;
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

  /**
   * From now on no grant older than `floor` activates anything in these partitions on this worker. True: some of them have become
   * ours anew, as if we had seen the view between that made another worker their owner, and `unheard` has grown.
   */
  promise(partitions: Iterable<number>, floor: Fence): boolean {
    let back: PartitionSet | undefined;
    for (const partition of partitions) {
      if (this.#isPromised(partition, floor)) continue;
      this.#promisedEpoch[partition] = floor.epoch;
      this.#promisedClaim[partition] = floor.claim;
      if (this.#state[partition] === FOREIGN || floor.epoch <= (this.#gainedEpoch[partition] ?? 0)) continue;
      this.#cede(partition);
      // Who asks knows a later view than the one that made us the owner, but an older one than ours, which says that we are it again.
      if (floor.epoch >= this.#view.epoch) continue;
      this.#gain(partition);
      back ??= new PartitionSet();
      back.add(partition);
    }
    if (back === undefined) return false;
    this.#startRound(back);
    this.#finishRounds();
    return true;
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

  #setState(partition: number, state: number): void {
    if (this.#state[partition] === RECOVERING) this.#recovering--;
    if (state === RECOVERING) this.#recovering++;
    this.#state[partition] = state;
  }

  #gain(partition: number): void {
    this.#setState(partition, RECOVERING);
    this.#gainedEpoch[partition] = this.#view.epoch;
  }

  #cede(partition: number): void {
    this.#setState(partition, FOREIGN);
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
        if (state[partition] !== FOREIGN) this.#setState(partition, FOREIGN);
      } else if (state[partition] === FOREIGN && (this.#promisedEpoch[partition] ?? 0) <= this.#view.epoch) {
        // A view older than a promise of ours cannot make us owner: whom we promised knows a newer one.
        this.#gain(partition);
        gained ??= new PartitionSet();
        gained.add(partition);
      }
    }
    return gained;
  }

  #startRound(partitions: PartitionSet): void {
    // We are a host too: a grant from the former owner may be on its way to us.
    this.promise(partitions, { epoch: this.#view.epoch, claim: 0 });
    const waiting = new Set<WorkerId>();
    for (const member of this.#members.values())
      if (canHost(member) && member.id !== this.#self) waiting.add(member.id);
    this.#rounds.push({ partitions, waiting });
  }

  /** True: partitions have opened. */
  #finishRounds(): boolean {
    const before = this.#recovering;
    this.#rounds = this.#rounds.filter((round) => {
      if (round.waiting.size > 0) return true;
      for (const partition of round.partitions) {
        if (this.#state[partition] === RECOVERING) this.#setState(partition, OPEN);
      }
      return false;
    });
    return this.#recovering < before;
  }

  #dropStaleEntries(): void {
    for (const [key, entry] of this.#entries) {
      if (!this.#members.has(entry.worker) || this.#state[partitionOf(key)] === FOREIGN) this.#entries.delete(key);
    }
  }
}
