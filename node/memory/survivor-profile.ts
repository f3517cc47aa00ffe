// What is still there of what sessions have made in some of their turns. V8 samples what is allocated, in its order, and forgets what is
// collected; an array that is allocated where such a turn begins, and another one where it ends, shows which samples lie in between.

import { Session, type HeapProfiler } from "node:inspector";
import { integer, list, record, text } from "#proto";

/** Between two samples, on average. */
const SAMPLE_BYTES = 4 * 1024;
/** Twelve times as large: one in 160,000 has no sample. */
const MARK_SLOTS = 6 * 1024;
/** A sample tells the function that has allocated, which is what marks are known by. */
const STACK_DEPTH = 2;

// One allocation of this size, and nothing else.
/* oxlint-disable unicorn/no-new-array */

/** Which session has begun a turn is told by the function that allocates the mark, so there is one for each. */
const BEGINNINGS: readonly (() => unknown[])[] = [
  function turnBegins0() {
    return new Array(MARK_SLOTS);
  },
  function turnBegins1() {
    return new Array(MARK_SLOTS);
  },
  function turnBegins2() {
    return new Array(MARK_SLOTS);
  },
  function turnBegins3() {
    return new Array(MARK_SLOTS);
  },
  function turnBegins4() {
    return new Array(MARK_SLOTS);
  },
  function turnBegins5() {
    return new Array(MARK_SLOTS);
  },
];

function turnEnds(): unknown[] {
  return new Array(MARK_SLOTS);
}

/* oxlint-enable unicorn/no-new-array */

/** Sessions that can be told apart in one profile. */
export const PROFILED_MAX = BEGINNINGS.length;

export class SurvivorProfile {
  readonly #session = new Session();
  /** Samples of what is collected are gone, so they MUST live on. Whoever calls bounds them; each has 48 kB. */
  #marks: unknown[] = [];

  constructor() {
    this.#session.connect();
    // Node's types do not know the depth.
    const sampling = { samplingInterval: SAMPLE_BYTES, stackDepth: STACK_DEPTH };
    this.#session.post("HeapProfiler.startSampling", sampling);
  }

  /** @param session a number below `PROFILED_MAX` */
  turnBegins(session: number): void {
    this.#marks.push(BEGINNINGS[session]?.());
  }

  turnEnds(): void {
    this.#marks.push(turnEnds());
  }

  /** Stops the process for a full collection. Returns how many bytes are left of the turns of each session that has any. */
  stop(): ReadonlyMap<number, number> {
    let profile: HeapProfiler.SamplingHeapProfile | undefined;
    this.#session.post("HeapProfiler.stopSampling", (error, answer) => {
      if (error === null) ({ profile } = answer);
    });
    this.#session.disconnect();
    this.#marks = [];
    return profile === undefined ? new Map() : survivorsOf(profile);
  }
}

interface Sample {
  readonly ordinal: number;
  readonly bytes: number;
  readonly node: number;
}

/** "end", or the number of a session. */
type Mark = "end" | number;

function survivorsOf(profile: HeapProfiler.SamplingHeapProfile): ReadonlyMap<number, number> {
  const marks = marksOf(profile.head);
  const survivors = new Map<number, number>();
  let running: number | undefined;
  for (const { node, bytes } of samplesOf(profile).sort((one, other) => one.ordinal - other.ordinal)) {
    const mark = marks.get(node);
    if (mark === "end") running = undefined;
    else if (mark !== undefined) running = mark;
    else if (running !== undefined) survivors.set(running, (survivors.get(running) ?? 0) + bytes);
  }
  return survivors;
}

/** In no order. They are not in Node's types. */
function samplesOf(profile: object): Sample[] {
  return list(Reflect.get(profile, "samples"), "samples").map((value) => {
    const { ordinal, size, nodeId } = record(value, "sample");
    return {
      ordinal: integer(ordinal, "sample.ordinal"),
      bytes: integer(size, "sample.size"),
      node: integer(nodeId, "sample.nodeId"),
    };
  });
}

/** By the node of the stack. */
function marksOf(head: unknown): ReadonlyMap<number, Mark> {
  const marks = new Map<number, Mark>();
  const visit = (value: unknown, above: Mark | undefined): void => {
    const { id, callFrame, children } = record(value, "node");
    const mark = markOf(text(record(callFrame, "node.callFrame")["functionName"], "node.functionName")) ?? above;
    if (mark !== undefined) marks.set(integer(id, "node.id"), mark);
    for (const child of list(children, "node.children")) visit(child, mark);
  };
  visit(head, undefined);
  return marks;
}

function markOf(functionName: string): Mark | undefined {
  if (functionName === turnEnds.name) return "end";
  const session = BEGINNINGS.findIndex(({ name }) => name === functionName);
  return session === -1 ? undefined : session;
}
