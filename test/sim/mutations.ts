// Deliberate breaks of the protocol: each makes the code wrong in one place, and the simulation must notice. They prove that the checker
// looks where it says it does. Most are in the product; what the product leaves to the application or to the session host is broken in the
// simulation's own.

import type { Invariant } from "./checker.ts";
import type { SourceEdit } from "./source-edits.ts";

export interface Mutation {
  /** What is wrong. */
  readonly name: string;
  /** What it may show as. */
  readonly breaks: readonly Invariant[];
  /** A seed that found it when it was looked for last, or the kept schedule that does. When it does not any more, others may. */
  readonly seed: number | string;
  readonly edits: readonly SourceEdit[];
}

function mutation(
  name: string,
  breaks: readonly Invariant[],
  seed: number | string,
  file: string,
  find: string,
  replace: string,
): Mutation {
  return { name, breaks, seed, edits: [{ file, find, replace }] };
}

export const mutations: readonly Mutation[] = [
  mutation(
    "an owner opens before all have told what they host",
    [1, 4],
    5,
    "mesh/directory.ts",
    "if (round.waiting.size > 0) return true;",
    "if (round.waiting.size > 1) return true;",
  ),
  mutation(
    "an owner asks nobody what they host",
    [1, 4],
    1,
    "mesh/directory.ts",
    "member.id !== this.#self) waiting.add(member.id);",
    "member.id !== this.#self) waiting.delete(member.id);",
  ),
  mutation(
    "an answer is taken for what was gained after the question",
    [1, 4],
    499,
    "mesh/directory.ts",
    "for (const round of rounds) round.waiting.delete(from);",
    "for (const round of this.#rounds) round.waiting.delete(from);",
  ),
  mutation(
    "a host takes grants that are older than its promises",
    [1, 2, 4],
    382,
    "mesh/router.ts",
    "if (!this.#directory.mayActivate(partitionOf(id.key), fence)) return answer(false);",
    "",
  ),
  mutation("claims do not rise", [2], 7, "mesh/directory.ts", "claim: ++this.#claims", "claim: this.#claims"),
  mutation(
    "tokens do not say the epoch of their owner's view",
    [2, 8],
    3,
    "mesh/directory.ts",
    "return { epoch: this.#view.epoch, claim: ++this.#claims };",
    "return { epoch: 1, claim: ++this.#claims };",
  ),
  mutation(
    "a worker takes its lease for endless",
    [1, 3],
    1,
    "node/worker/worker-lease.ts",
    "return this.#clock.now() < this.#deadline;",
    "return this.#deadline > 0;",
  ),
  mutation(
    "a deadline counts from the acknowledgement of a late answer",
    [1, 3],
    10,
    "mesh/lease.ts",
    "const until = sentAt + this.#suspendMs;",
    "const until = now + this.#suspendMs + 1_000;",
  ),
  mutation(
    "a node is evicted when it may still act",
    [1, 3, 4],
    1,
    "mesh/silence.ts",
    "outageCapMs + evictMs : evictMs;",
    "evictMs : evictMs / 3;",
  ),
  mutation(
    "a promise not to evict is not kept",
    [1, 3, 4],
    "promise-to-a-node-with-a-lossy-registry",
    "mesh/silence.ts",
    "if (!isGone && !marked && now < observed.promisedUntil) continue;",
    "",
  ),
  mutation(
    "some promises are enough to go on",
    [1, 3, 4],
    10,
    "mesh/outage.ts",
    "const agreed = peers.every(",
    "const agreed = peers.some(",
  ),
  mutation(
    "one that has ended need not promise to end a suspension",
    [1, 3, 4],
    "stopped-until-its-evictor-has-ended",
    "mesh/outage.ts",
    "const effects = all ?",
    "const effects = agreed ?",
  ),
  mutation(
    "a mark without an answer is forgotten",
    [1, 3, 4],
    "stopped-while-its-mark-went-unanswered",
    "mesh/peer-leases.ts",
    "this.#begun.set(id, { incarnation, replaced: revision, beat });",
    "",
  ),
  mutation(
    "the end of a primary alone is proof",
    [3, 4],
    16,
    "mesh/evidence.ts",
    'return results.every((result) => result === "refused");',
    "return results.length > 0;",
  ),
  mutation(
    "a node that has no contact promises nothing",
    [5],
    19,
    "mesh/membership.ts",
    "return this.#peers.promise(nodeId, incarnation);",
    "return false;",
  ),
  mutation(
    "a registry that forgot is believed",
    [2, 4, 5, 6],
    269,
    "mesh/view-change.ts",
    "if (stored?.founding !== known.founding) {",
    "if (known.epoch > 0) return { base: stored ?? { ...known, epoch: 0, nodes: [] }, rewound: false };\n  if (stored?.founding !== known.founding) {",
  ),
  mutation(
    "an owner never forgets a host that has nothing any more",
    [6],
    10,
    "mesh/directory.ts",
    "if (this.#entries.get(key)?.worker === worker) this.#entries.delete(key);",
    "",
  ),
  mutation("routes are not remembered", [6], 1, "mesh/route-cache.ts", "this.#routes.set(key, worker);", ""),
  mutation(
    "a draining node is not asked what it hosts",
    [1, 4, 7],
    5,
    "proto/view.ts",
    'export function canHost(member: Member): boolean {\n  return member.node.role === "host";',
    'export function canHost(member: Member): boolean {\n  return member.node.role === "host" && member.node.state === "up";',
  ),
  mutation(
    "a session writes without its token",
    [8],
    281,
    "test/sim/store.ts",
    "if (row === undefined || compareFences(fence, row.fence) !== 0) return this.#refused();",
    "if (row === undefined) return this.#refused();",
  ),
  mutation(
    "a request is sent again after its link broke",
    [9],
    1,
    "mesh/router.ts",
    'if (outcome.status === "failed" && !isStopped(outcome.error)) throw outcome.error;',
    'if (outcome.status === "failed" && outcome.error.code !== "session_lost") throw outcome.error;',
  ),
  mutation(
    "a fenced worker drops its sessions and says nothing",
    [10],
    36,
    "test/sim/host.ts",
    "    this.#checker.ended(this.#worker, server, reason);",
    '    if (reason !== "evicted") this.#checker.ended(this.#worker, server, reason);',
  ),
  mutation(
    "a membership that has closed goes on looking at its peers",
    [11],
    1,
    "mesh/peer-leases.ts",
    "    this.#cancel?.();\n    this.#cancelGone?.();\n    this.#evidence.stop();",
    "    this.#evidence.stop();\n    this.#stopped = false;",
  ),
  mutation(
    "entries of workers that are gone stay in the directory",
    [6, 11],
    2,
    "mesh/directory.ts",
    "if (!this.#members.has(entry.worker) || this.#state[partitionOf(key)] === FOREIGN) this.#entries.delete(key);",
    "if (this.#state[partitionOf(key)] === -1) this.#entries.delete(key);",
  ),
  mutation(
    "who joined while the registry had gone back is dropped from the view",
    [3, 4],
    "newcomer-while-the-registry-had-gone-back",
    "mesh/view-change.ts",
    "for (const { id } of ours) lives.delete(id);",
    "lives.clear();",
  ),
  mutation(
    "a node that was suspended goes on without a look at what others know",
    [1, 3],
    "eviction-that-the-registry-forgot",
    "mesh/membership.ts",
    "if (!(await allShow(this.#lease.registry, others, view.opId, back))) return;",
    "",
  ),
  mutation(
    "what others showed before a second gap counts for a node that resumes",
    [1, 3],
    "second-gap-before-a-node-resumes",
    "mesh/membership.ts",
    "const isOn = this.#back !== undefined && until - this.#back.until < this.#options.timings.suspendMs;",
    "const isOn = this.#back !== undefined;",
  ),
  mutation(
    "a view does not tell who has ended",
    [1, 3, 4],
    "eviction-that-the-registry-forgot",
    "mesh/view-change.ts",
    "if (departed.length === 0) return { ...view, epoch, nodes };",
    "if (departed.length >= 0) return { ...view, epoch, nodes };",
  ),
  mutation(
    "of two lives of a node the one that we know counts",
    [3],
    "known-id-with-another-life",
    "mesh/view-change.ts",
    "const ours = kept.filter(({ id, incarnation }) => (lives.get(id)?.incarnation ?? incarnation) === incarnation);",
    "const ours = kept;",
  ),
  mutation(
    "a reconnect during a look at the view is forgotten",
    [5],
    "reconnect-during-a-look-at-the-view",
    "mesh/membership.ts",
    "if (this.#refreshAgain) this.#refreshSoon();",
    "",
  ),
  mutation(
    "a lease is told apart by its revision alone",
    [3],
    "another-write-at-the-same-revision",
    "mesh/silence.ts",
    "if (sighting.revision === observed.revision && sighting.opId === observed.opId) return;",
    "if (sighting.revision === observed.revision) return;",
  ),
  mutation(
    "who has gone out of the view is not missed by a node that goes on by promises",
    [1, 3],
    "evictor-gone-before-its-view-change",
    "mesh/outage.ts",
    'const all = !this.#departed && answers.every((answer) => answer === "promised");',
    'const all = answers.every((answer) => answer === "promised");',
  ),
];
