// Which processes a session must not signal: its own, those that it descends from (primary, launcher), and their other children (workers
// and nodes beside it), alone or as a group. A child that the session started itself is its own business.

import { readFileSync } from "node:fs";

/** Parents of parents that are looked at. A process tree that is deeper is not a mesh's. */
const ANCESTORS_MAX = 16;

interface Relations {
  readonly parent: number;
  readonly group: number;
}

/** `pid` as `kill(2)` takes it: 0 and negative numbers are groups. Where there is no /proc, only this process and its parent are known. */
export function isOfTheNode(pid: number): boolean {
  if (pid === 0 || pid === -1) return true;
  const family = ancestors();
  if (pid < 0) return [...family].some((member) => member === -pid || relationsOf(member)?.group === -pid);
  if (family.has(pid)) return true;
  const parent = relationsOf(pid)?.parent;
  // A child of process 1 may be anybody's, one of this process is the session's.
  return parent !== undefined && parent > 1 && parent !== process.pid && family.has(parent);
}

/** This process and those above it. */
function ancestors(): Set<number> {
  const family = new Set([process.pid]);
  let pid = process.ppid;
  for (let depth = 0; depth < ANCESTORS_MAX && pid > 0; depth++) {
    family.add(pid);
    pid = relationsOf(pid)?.parent ?? 0;
  }
  return family;
}

/** Undefined: no such process, or no /proc. */
function relationsOf(pid: number): Relations | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // pid (name) state parent group ...; the name may contain anything.
  const [, parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(parent), group: Number(group) };
}
