// Who sent a request, as far as the gateway that took the client knows. Made for each request, so it decodes claims only when they are
// asked for; and kept in force for what session code does because of that request, which is where `ctx.claims` looks.

import { AsyncLocalStorage } from "node:async_hooks";
import { decodeClaims, type Claims } from "#proto";
import type { SessionCall } from "#mesh";

/** The client of a request or socket. */
export interface Caller {
  /** Address of the client; behind a proxy that MESH_TRUSTED_PROXIES names, the one that the proxy tells. Undefined: another session asks. */
  readonly ip: string | undefined;
  /** What `authorize`, `onBeforeRequest` or `onBeforeConnect` passed on: a copy. Undefined: nothing. */
  readonly claims: Claims | undefined;
}

const inForce = new AsyncLocalStorage<Caller>();

export function callerOf({ ip, claims }: Pick<SessionCall, "ip" | "claims">): Caller {
  return new CallCaller(ip, claims);
}

/** Runs `fn`, and what comes of it, as work for `caller`. Costs nothing for who has no claims. */
export function runFor<Result>(caller: Caller | undefined, fn: () => Result): Result {
  return caller === undefined ? fn() : inForce.run(caller, fn);
}

/** Of the event that session code works on. */
export function claimsInForce(): Claims | undefined {
  return inForce.getStore()?.claims;
}

class CallCaller implements Caller {
  readonly #ip: string;
  #bytes: Uint8Array | undefined;
  #claims: Claims | undefined;

  constructor(ip: string, bytes: Uint8Array | undefined) {
    this.#ip = ip;
    this.#bytes = bytes;
  }

  get ip(): string | undefined {
    return this.#ip === "" ? undefined : this.#ip;
  }

  get claims(): Claims | undefined {
    if (this.#bytes !== undefined) {
      this.#claims = decodeClaims(this.#bytes);
      this.#bytes = undefined;
    }
    return this.#claims;
  }
}
