// Every way in which one view follows another, as pure functions. Each returns the view it was given when nothing has to change, so
// a change that was written twice, or by somebody else, is no change; else a view with the next epoch. `opId` is the writer's to set.

import { isDeepStrictEqual } from "node:util";
import type { NodeRecord, NodeState, View, WorkerRecord } from "#proto";

/** Ends that a view remembers, or as many as it has nodes. A registry goes back by some seconds; more do not end in them. */
const DEPARTED_MIN = 64;

export type JoinOutcome =
  | { readonly status: "joined"; readonly view: View }
  /** Another incarnation holds the id. It has to leave, or to be evicted, first. */
  | { readonly status: "id_taken"; readonly holder: NodeRecord };

/** Adds the node, or brings its record up to date. */
export function joined(view: View, node: NodeRecord): JoinOutcome {
  const holder = view.nodes.find((other) => other.id === node.id);
  if (holder !== undefined && holder.incarnation !== node.incarnation) return { status: "id_taken", holder };
  if (holder !== undefined && isDeepStrictEqual(holder, node)) return { status: "joined", view };
  const nodes = [...view.nodes.filter((other) => other.id !== node.id), node];
  return { status: "joined", view: next(view, sorted(nodes)) };
}

/** Without the node, which goes by its own will. */
export function left(view: View, nodeId: string, incarnation: string): View {
  return without(view, nodeId, incarnation);
}

/** Without the node, which others found dead. Only after its lease says so: see silence.ts. */
export function evicted(view: View, nodeId: string, incarnation: string): View {
  return without(view, nodeId, incarnation);
}

/** Without all of these lives of nodes, by id, whose leases say so: however many, it is one change. */
export function allEvicted(view: View, lives: ReadonlyMap<string, string>): View {
  const stay = view.nodes.filter((node) => lives.get(node.id) !== node.incarnation);
  return stay.length === view.nodes.length ? view : next(view, stay);
}

export function withWorkers(view: View, nodeId: string, incarnation: string, workers: readonly WorkerRecord[]): View {
  return revised(view, nodeId, incarnation, (node) => ({ ...node, workers }));
}

export function withState(view: View, nodeId: string, incarnation: string, state: NodeState): View {
  return revised(view, nodeId, incarnation, (node) => ({ ...node, state }));
}

export interface Rebase {
  /** What the next change builds on. */
  readonly base: View;
  /** The registry has forgotten views: `base` has to be proposed again even without a change. */
  readonly rewound: boolean;
}

/**
 * What a member that has seen `known` makes of the view that is stored. JetStream can lose acknowledged writes: when the stored view is
 * missing, older, another one under the same number, or holds somebody whose end we know of, the registry went back, and what we have
 * seen counts. A view of another founding is no view of ours, however high its number: ask `prevails` before writing over it. The epoch of
 * the base is above both, so nobody takes the repaired view for an old one. Who is in the stored view and was never seen by us has joined
 * since the registry went back, and may act: it stays.
 */
export function rebased(known: View, stored: View | undefined): Rebase {
  if (stored?.founding !== known.founding) {
    return { base: { ...known, epoch: Math.max(known.epoch, stored?.epoch ?? 0) + 1 }, rewound: true };
  }
  const departed = new Set(known.departed);
  const present = stored.nodes.filter((node) => !departed.has(node.incarnation));
  const isLater = stored.epoch > known.epoch || (stored.epoch === known.epoch && stored.opId === known.opId);
  if (isLater && present.length === stored.nodes.length) return { base: stored, rewound: false };
  const ends = [...(stored.departed ?? []), ...departed];
  // They have gone on from what the registry showed them, and know of their own joins and ends better than we do.
  if (isLater) return { base: made(stored, stored.epoch + 1, present, ends), rewound: true };
  const ended = new Set(stored.departed);
  const kept = known.nodes.filter((node) => !ended.has(node.incarnation));
  // Another life of a node that we know has taken the lease of its id over: the one that we know is over, or will be at its next heartbeat.
  const lives = new Map(present.map((node) => [node.id, node]));
  const ours = kept.filter(({ id, incarnation }) => (lives.get(id)?.incarnation ?? incarnation) === incarnation);
  for (const { id } of ours) lives.delete(id);
  const nodes = sorted([...ours, ...lives.values()]);
  return { base: made(known, known.epoch + 1, nodes, ends), rewound: true };
}

/** Of two meshes that were founded apart the older one goes on. Members of both come to the same answer, whoever looks first. */
export function prevails(ours: View, theirs: View): boolean {
  return ours.founding < theirs.founding;
}

export function holds(view: View, nodeId: string, incarnation: string): boolean {
  return view.nodes.some((node) => node.id === nodeId && node.incarnation === incarnation);
}

function sorted(nodes: readonly NodeRecord[]): NodeRecord[] {
  return nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function without(view: View, nodeId: string, incarnation: string): View {
  if (!holds(view, nodeId, incarnation)) return view;
  return next(
    view,
    view.nodes.filter((node) => node.id !== nodeId),
  );
}

function revised(view: View, nodeId: string, incarnation: string, revise: (node: NodeRecord) => NodeRecord): View {
  const node = view.nodes.find((other) => other.id === nodeId && other.incarnation === incarnation);
  if (node === undefined) return view;
  const after = revise(node);
  if (isDeepStrictEqual(node, after)) return view;
  return next(
    view,
    view.nodes.map((other) => (other === node ? after : other)),
  );
}

function next(view: View, nodes: readonly NodeRecord[]): View {
  const ends = [...(view.departed ?? []), ...view.nodes.map((node) => node.incarnation)];
  return made(view, view.epoch + 1, nodes, ends);
}

/** `ends`: of whom the view is to tell that they have ended, unless they are in it. The last of them count. */
function made(from: View, epoch: number, nodes: readonly NodeRecord[], ends: readonly string[]): View {
  const { departed: _, ...view } = from;
  const present = new Set(nodes.map((node) => node.incarnation));
  const departed = [...new Set(ends)].filter((incarnation) => !present.has(incarnation));
  if (departed.length === 0) return { ...view, epoch, nodes };
  return { ...view, epoch, nodes, departed: departed.slice(-Math.max(DEPARTED_MIN, nodes.length)) };
}
