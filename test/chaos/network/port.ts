// The network of a chaos test: places with an address each, and what can be done to the wires between them. Two adapters: network
// namespaces on a bridge (namespaces.ts, Linux and root), and addresses of loopback where nothing can be cut (loopback.ts).

/** One machine of the test. */
export interface Place {
  readonly name: string;
  readonly address: string;
  /** What a command has to begin with to run there. */
  readonly under: readonly string[];
}

/** The IP packets from one address to another are dropped. */
export interface Cut {
  readonly from: string;
  readonly to: string;
}

/** What becomes of every packet, and each for itself, so that jitter changes their order. */
export interface Weather {
  readonly delayMs: number;
  /** Delays differ by so much either way. */
  readonly jitterMs: number;
  readonly lossPercent: number;
}

export interface Network {
  readonly kind: "namespaces" | "loopback";
  /** Why it is this kind and what it cannot do, for the reader of the table. */
  readonly remarks: readonly string[];
  /** What makes packets late and loses them, if anything can. */
  readonly weatherBy: "sch_netem" | "TAP devices" | undefined;
  /** A place more. */
  add(name: string): Place;
  /** These and no others, from now on. Packets on their way already arrive. */
  impose(cuts: readonly Cut[]): void;
  /** Pulls the place's cable, or plugs it in again. */
  cable(place: Place, state: "up" | "down"): void;
  /** For all packets to the place and for all from it; `undefined` ends it. The seed repeats what is lost, as far as packets repeat. */
  weather(place: Place, weather: Weather | undefined, seed: number): Promise<void>;
  /** Removes every place. Call it when no process runs in one any more. */
  close(): void;
}
