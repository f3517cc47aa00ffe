// What an application's hook at a gateway says about a client, on its way to the session: an object of its own making, as a structured
// clone. Bytes between the two, so that neither a hook nor a session can change what another one holds.

import { deserialize, serialize } from "node:v8";
import { MeshError } from "./error.ts";

/** For example `{ user: "u1", roles: ["editor"] }`. */
export type Claims = Readonly<Record<string, unknown>>;

/** Claims travel with every request and stay with every socket. Too small: a user's roles do not fit; too large: ten thousand sockets fill a worker. */
export const CLAIMS_BYTES_MAX = 16 * 1024;

/** Throws `bad_app` when they are too large, and another error for what cannot be cloned. */
export function encodeClaims(claims: Claims): Uint8Array {
  const bytes = serialize(claims);
  if (bytes.byteLength <= CLAIMS_BYTES_MAX) return bytes;
  throw new MeshError(
    "bad_app",
    `claims take ${bytes.byteLength} bytes and may take ${CLAIMS_BYTES_MAX}: pass an id on, and let the session look up the rest`,
  );
}

/** Throws `bad_frame`. */
export function decodeClaims(bytes: Uint8Array): Claims {
  try {
    const claims: unknown = deserialize(bytes);
    if (isClaims(claims)) return claims;
  } catch {
    // Said below.
  }
  throw new MeshError("bad_frame", "the claims of a request are not what a gateway writes");
}

export function isClaims(value: unknown): value is Claims {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
