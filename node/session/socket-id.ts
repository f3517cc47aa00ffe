// The id of a socket: the one that its client asks for in `?_pk=`, as `partysocket` does, or one that nobody can guess. A client that
// connects again keeps its id that way. So two open sockets may have the same: ids tell clients apart only as far as clients are honest.

import { randomUUID } from "node:crypto";
import { MeshError } from "#proto";

const QUERY = "_pk";
/** Of a UUID, a nanoid, an e-mail address or the like; it goes into logs and attributes as it is. */
const ID = /^[A-Za-z0-9._~:@+-]{1,128}$/;

/** Made when it is first asked for: Node joins it of twenty strings, which take half a kilobyte together. */
export function socketIdOf(url: string): string {
  return askedFor(url) ?? randomUUID();
}

/** Why the client cannot have the id that it asks for. */
export function idRefusal(url: string): MeshError | undefined {
  const id = askedFor(url);
  if (id === undefined || ID.test(id)) return undefined;
  const why = `the socket's id in ?${QUERY}= must be 1 to 128 of A-Z, a-z, 0-9, ".", "_", "~", ":", "@", "+" and "-"`;
  return new MeshError("bad_request", why);
}

function askedFor(url: string): string | undefined {
  // Nearly no other client has a query with it, and parsing a URL costs more than the rest of a handshake here.
  if (!url.includes(`${QUERY}=`)) return undefined;
  const id = new URL(url).searchParams.get(QUERY);
  return id === null || id === "" ? undefined : id;
}
