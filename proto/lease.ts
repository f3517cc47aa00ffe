// The lease record of a node, key `lease.<node>`: its heartbeat, the load that placement reads, or the mark of an eviction.

import { MeshError } from "./error.ts";
import { integer, list, parseJson, record, text } from "./json.ts";

/** What one worker reports about itself; the freshest that placement knows. */
export interface WorkerLoad {
  readonly index: number;
  /** Live session servers. */
  readonly sessions: number;
  /** Event-loop utilisation of the last interval, 0 to 1. */
  readonly utilisation: number;
  /** Resident memory in bytes. */
  readonly rssBytes: number;
  /** Mean event-loop delay of the last interval, in milliseconds. */
  readonly lagMs: number;
  /** It takes no new sessions for now. */
  readonly full?: boolean;
}

export interface LiveLease {
  readonly state: "live";
  readonly incarnation: string;
  /** Rises with every heartbeat. */
  readonly beat: number;
  /** Of the newest view that the node had seen: who of those who watch it it knows of. */
  readonly epoch: number;
  /**
   * `opId` of that view, while the node takes it for true; empty while it is about to take somebody out of it. A node that was suspended goes on
   * when all others show the view that it has read.
   */
  readonly view: string;
  /** Names the write; see `View.opId`. */
  readonly opId: string;
  readonly load: readonly WorkerLoad[];
}

export interface EvictedLease {
  readonly state: "evicted";
  /** The incarnation that was evicted. */
  readonly incarnation: string;
  /** The node that evicted it. */
  readonly by: string;
  readonly opId: string;
}

export type Lease = LiveLease | EvictedLease;

export function encodeLease(lease: Lease): Uint8Array {
  return Buffer.from(JSON.stringify(lease));
}

/** Throws `bad_frame`. */
export function decodeLease(bytes: Uint8Array): Lease {
  const value = parseJson(bytes, "lease");
  const incarnation = text(value["incarnation"], "lease.incarnation");
  const opId = text(value["opId"], "lease.opId");
  if (value["state"] === "evicted") return { state: "evicted", incarnation, opId, by: text(value["by"], "lease.by") };
  if (value["state"] !== "live") throw new MeshError("bad_frame", "lease.state must be live or evicted");
  return {
    state: "live",
    incarnation,
    opId,
    beat: integer(value["beat"], "lease.beat"),
    epoch: integer(value["epoch"], "lease.epoch"),
    view: text(value["view"], "lease.view"),
    load: list(value["load"], "lease.load").map((entry, at) =>
      decodeLoad(record(entry, `lease.load[${at}]`), `lease.load[${at}]`),
    ),
  };
}

function decodeLoad(value: Record<string, unknown>, path: string): WorkerLoad {
  return {
    index: integer(value["index"], `${path}.index`),
    sessions: integer(value["sessions"], `${path}.sessions`),
    rssBytes: integer(value["rssBytes"], `${path}.rssBytes`),
    utilisation: measure(value["utilisation"], `${path}.utilisation`),
    lagMs: measure(value["lagMs"], `${path}.lagMs`),
    ...(value["full"] === true ? { full: true } : {}),
  };
}

function measure(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new MeshError("bad_frame", `${path} must be a number, 0 or more`);
  }
  return value;
}
