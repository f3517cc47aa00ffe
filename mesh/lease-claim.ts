// How a node that joins comes by the lease of its id: at once when nobody holds it or its holder was evicted; after watching its holder
// be silent, which is then evicted; never while the holder renews it. `evictMs` of silence are enough when nothing of the holder
// listens. Else it may be running, cut off from the registry and serving on by the promises of its peers, as long as `outageCapMs`.
// Reads only until the silence is long enough, so two processes with one id cannot throw each other out.

import { MeshError, decodeLease, decodeView, encodeLease, type Lease, type NodeRecord } from "#proto";
import type { Clock } from "./clock.ts";
import type { PeerSenses } from "./evidence.ts";
import { leaseKey } from "./heartbeat.ts";
import type { Kv } from "./kv/port.ts";
import type { LogLine } from "./log.ts";
import { pause } from "./pause.ts";
import type { LeaseTimings } from "./silence.ts";
import { VIEW_KEY } from "./view-register.ts";

export interface LeaseClaim {
  readonly kv: Kv;
  readonly clock: Clock;
  readonly log: LogLine;
  readonly closing: AbortSignal;
  readonly nodeId: string;
  readonly incarnation: string;
  readonly timings: LeaseTimings;
  readonly senses: PeerSenses;
  /** For a registry that does not answer. */
  readonly limitMs: number;
}

interface Holder {
  /** 0: the view has the node, but there is no lease. */
  readonly revision: number;
  readonly incarnation: string;
  /** What the view says of it; undefined: nothing, so it serves nobody. */
  readonly node: NodeRecord | undefined;
}

/** The revision that our first heartbeat replaces, 0 to create the key. Throws `bad_config` when the id is taken. */
export async function claimLease(claim: LeaseClaim): Promise<number> {
  const { kv, clock, closing, nodeId, incarnation, timings, log } = claim;
  let until = clock.now() + claim.limitMs;
  let watched: { readonly revision: number; readonly since: number } | undefined;
  while (!closing.aborted) {
    if (clock.now() >= until) {
      throw new MeshError("registry_unavailable", `the registry did not answer for ${claim.limitMs} ms`, {
        node: nodeId,
      });
    }
    let found: number | Holder;
    try {
      found = await look(claim);
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== "registry_unavailable") throw error;
      // A renewal may have happened that we could not see.
      watched = undefined;
      await pause(clock, timings.heartbeatMs, closing);
      continue;
    }
    if (typeof found === "number") return found;
    until = clock.now() + claim.limitMs;

    if (watched === undefined) {
      log("info", "another life of this node holds its lease; waiting for it to run out", {
        holder: found.incarnation,
      });
      watched = { revision: found.revision, since: clock.now() };
    } else if (watched.revision !== found.revision) {
      throw new MeshError(
        "bad_config",
        `a node "${nodeId}" is running: give this one another id (MESH_NODE), or stop the other first`,
        { node: nodeId },
      );
    }
    if (clock.now() - watched.since >= (await neededMs(claim, found.node))) {
      const mark: Lease = {
        state: "evicted",
        incarnation: found.incarnation,
        by: nodeId,
        opId: `${incarnation}.claim`,
      };
      const key = leaseKey(nodeId);
      const write = await (found.revision === 0
        ? kv.create(key, encodeLease(mark))
        : kv.update(key, encodeLease(mark), found.revision));
      if (write.status === "written") return write.revision;
      // Renewed in the last moment, or no answer: the next look tells.
    }
    await pause(clock, timings.heartbeatMs, closing);
  }
  throw new MeshError("suspended", "this node does not take part in the mesh any more", { node: nodeId });
}

async function neededMs({ senses, timings }: LeaseClaim, node: NodeRecord | undefined): Promise<number> {
  if (node === undefined) return timings.evictMs;
  const addresses = [node.lifeline, ...node.workers.map((worker) => worker.address)];
  const results = await Promise.all(addresses.map((address) => senses.probe(address)));
  return results.every((result) => result === "refused") ? timings.evictMs : timings.outageCapMs + timings.evictMs;
}

async function look({ kv, nodeId, incarnation }: LeaseClaim): Promise<number | Holder> {
  const entry = await kv.get(leaseKey(nodeId));
  const view = await kv.get(VIEW_KEY);
  const held = view === undefined ? undefined : decodeView(view.value).nodes.find((node) => node.id === nodeId);
  if (entry !== undefined) {
    const lease = decodeLease(entry.value);
    if (lease.state === "evicted" || lease.incarnation === incarnation) return entry.revision;
    const node = held?.incarnation === lease.incarnation ? held : undefined;
    return { revision: entry.revision, incarnation: lease.incarnation, node };
  }
  return held === undefined ? 0 : { revision: 0, incarnation: held.incarnation, node: held };
}
