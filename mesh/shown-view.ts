// What the other nodes of a view take for true, as their leases in the registry tell. A node that was suspended may have been evicted, and the
// registry may have forgotten it; those who know show another view. Reads each lease itself: watches repeat what was before a registry
// went back. Decides nothing.

import { decodeLease, type NodeRecord } from "#proto";
import { leaseKey } from "./heartbeat.ts";
import type { RegistryKeys } from "./relay.ts";

/** Leases read at a time: half of what goes through a peer at a time. */
const READS_AT_ONCE = 4;

/** True when each of these nodes has shown the view of this `opId` in a heartbeat later than `revision`. Throws when one cannot be read. */
export async function allShow(
  kv: Pick<RegistryKeys, "get">,
  nodes: readonly NodeRecord[],
  opId: string,
  revision: number,
): Promise<boolean> {
  for (let at = 0; at < nodes.length; at += READS_AT_ONCE) {
    const some = nodes.slice(at, at + READS_AT_ONCE);
    const shown = await Promise.all(
      some.map(async ({ id, incarnation }) => {
        const entry = await kv.get(leaseKey(id));
        if (entry === undefined || entry.revision <= revision) return false;
        const lease = decodeLease(entry.value);
        return lease.state === "live" && lease.incarnation === incarnation && lease.view === opId;
      }),
    );
    if (shown.includes(false)) return false;
  }
  return true;
}
