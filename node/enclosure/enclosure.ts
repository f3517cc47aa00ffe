// What a worker holds of a thread or process of its own. thread.ts and process.ts make one each.

import type { PacketStream } from "#mesh";
import type { ToldError } from "./messages.ts";
import type { PacketEvents } from "./port-stream.ts";

export interface EnclosureLimits {
  readonly turnBudgetMs: number;
  /** Of the JavaScript heap. */
  readonly heapMb: number;
}

/** Why an enclosure is no more. */
export type Downfall =
  /** A limit, or somebody with a signal. `reason` is for clients too: "the session was ended by force: ...". */
  | { readonly how: "killed"; readonly reason: string; readonly durationMs?: number }
  /** It ended itself. `reason` is for clients too: "the session crashed: ..."; `detail` is for the log. */
  | { readonly how: "crashed"; readonly reason: string; readonly detail?: ToldError };

export interface EnclosureEvents extends PacketEvents {
  /** Once, also after `kill`: nothing will come any more. */
  fell(downfall: Downfall): void;
  /** Once, after `fell`: it takes no resources any more. */
  gone(): void;
}

export interface Enclosure {
  readonly stream: PacketStream;
  /** Ends it by force. */
  kill(): void;
}

/** MUST NOT call an event before it has returned. */
export type StartEnclosure = (name: string, limits: EnclosureLimits, events: EnclosureEvents) => Enclosure;

/** Where Node keeps what it has compiled: an enclosure starts in half the time and two thirds of the memory with it. */
export function enclosureEnv(cacheDir: string): NodeJS.ProcessEnv {
  return { NODE_COMPILE_CACHE: cacheDir, ...process.env };
}
