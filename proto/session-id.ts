// The identity of a session: kind and name. Parsed once at the edge; everything behind it takes a SessionId and trusts it.

import { MeshError } from "./error.ts";

declare const sessionKeyBrand: unique symbol;
/** `kind/name`. A kind never holds a slash, so the first slash ends it: two sessions never share a key. */
export type SessionKey = string & { readonly [sessionKeyBrand]: true };

export interface SessionId {
  readonly kind: string;
  readonly name: string;
  readonly key: SessionKey;
}

/** A kind names a class of the application and stands in URLs, metrics labels and NATS subjects. */
const KIND = /^[a-z][a-z0-9_-]{0,63}$/;

/** In UTF-8 bytes. Names travel in every frame and stay in every route cache; too small refuses real names, too large costs memory. */
export const NAME_BYTES_MAX = 256;

// Control characters would corrupt logs and terminals; a lone surrogate has no UTF-8 form, so it could not travel.
// oxlint-disable-next-line no-control-regex
const FORBIDDEN_IN_NAME = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;

// Kinds are few: one that was found good is nearly always the next one, too.
let knownKind: string | undefined;

export function isKind(kind: string): boolean {
  if (kind === knownKind) return true;
  if (!KIND.test(kind)) return false;
  knownKind = kind;
  return true;
}

/** Throws `bad_name` with what is allowed. */
export function parseSessionId(kind: string, name: string): SessionId {
  checkId(kind, name);
  return { kind, name, key: `${kind}/${name}` as SessionKey };
}

function checkId(kind: string, name: string): void {
  if (!isKind(kind)) {
    throw new MeshError(
      "bad_name",
      `"${clip(kind)}" is not a session kind: use 1 to 64 of a-z, 0-9, "-" and "_", beginning with a letter`,
    );
  }
  if (name === "") throw new MeshError("bad_name", "a session name must not be empty");
  // A string of NAME_BYTES_MAX UTF-16 units can be longer in UTF-8; only then is the exact length worth counting.
  if (name.length > NAME_BYTES_MAX / 3 && Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new MeshError(
      "bad_name",
      `a session name must not be longer than ${NAME_BYTES_MAX} bytes of UTF-8; this one has ${Buffer.byteLength(name)}`,
    );
  }
  if (FORBIDDEN_IN_NAME.test(name)) {
    throw new MeshError("bad_name", "a session name must not hold control characters or lone surrogates");
  }
}

/** Throws `bad_name`. */
export function parseSessionKey(key: string): SessionId {
  const slash = key.indexOf("/");
  if (slash < 0)
    throw new MeshError("bad_name", `"${clip(key)}" is not a session: write kind/name, for example chat/lobby`);
  const kind = key.slice(0, slash);
  const name = key.slice(slash + 1);
  checkId(kind, name);
  return { kind, name, key: key as SessionKey };
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
