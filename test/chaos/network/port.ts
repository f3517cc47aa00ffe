// The network of a chaos test: places with an address each, and what can be done to the wires between them. Two adapters: network
// namespaces on a bridge (namespaces.ts, Linux and root), and addresses of loopback where nothing can be cut (loopback.ts).

/** One machine of the test. */
export interface Place {
  readonly name: string;
  readonly address: string;
  /** What a command has to begin with to run there. */
  readonly under: readonly string[];
}

/** What is dropped of the IP packets from one address to another. `undefined` is everybody, the clients too. */
export interface Cut {
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** 1 to 100; 100 drops all. */
  readonly percent: number;
}

export interface Network {
  readonly kind: "namespaces" | "loopback";
  /** Why it is this kind and what it cannot do, for the reader of the table. */
  readonly remarks: readonly string[];
  /** Whether packets can be delayed. */
  readonly delays: boolean;
  /** A place more. */
  add(name: string): Place;
  /** These and no others, from now on. Packets on their way already arrive. */
  impose(cuts: readonly Cut[]): void;
  /** Pulls the place's cable, or plugs it in again. */
  cable(place: Place, state: "up" | "down"): void;
  /** Delays every packet to and from the place; 0 ends that. */
  delay(place: Place, ms: number): void;
  /** Removes every place. Call it when no process runs in one any more. */
  close(): void;
}
