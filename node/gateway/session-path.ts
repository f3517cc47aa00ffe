// The paths of sessions: `/sessions/:kind/:name/...`, and `/parties/...` which the partysocket client uses.

import { MeshError, parseSessionId, type SessionId } from "#proto";

export interface SessionPath {
  readonly kind: string;
  /** As in the URL, percent-encoded; undefined when the path ends with the kind. */
  readonly name: string | undefined;
}

const PREFIXES = ["/sessions/", "/parties/"];

/** @param target path and query. Undefined when it is not below one of the prefixes. */
export function matchSessionPath(target: string): SessionPath | undefined {
  for (const prefix of PREFIXES) {
    if (!target.startsWith(prefix)) continue;
    const query = target.indexOf("?", prefix.length);
    const end = query === -1 ? target.length : query;
    const kindEnd = target.indexOf("/", prefix.length);
    if (kindEnd === -1 || kindEnd >= end) return { kind: target.slice(prefix.length, end), name: undefined };
    const nameEnd = target.indexOf("/", kindEnd + 1);
    const name = target.slice(kindEnd + 1, nameEnd === -1 || nameEnd > end ? end : nameEnd);
    // One slash behind the kind is a habit, not an empty name; anything below an empty name is a mistake.
    return { kind: target.slice(prefix.length, kindEnd), name: kindEnd + 1 === end ? undefined : name };
  }
  return undefined;
}

/** Throws `bad_name`. */
export function sessionIdOf(kind: string, encodedName: string): SessionId {
  return parseSessionId(kind, encodedName.includes("%") ? decode(encodedName) : encodedName);
}

export function pathOf(id: SessionId): string {
  return `/sessions/${id.kind}/${encodeURIComponent(id.name)}`;
}

function decode(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    throw new MeshError("bad_name", `the session name "${name.slice(0, 80)}" has a percent escape that is not UTF-8`);
  }
}
