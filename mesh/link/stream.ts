// What the link needs of its transport: a two-way stream of batches. The gRPC client and server each make one; nothing else here
// knows gRPC.

import type { Frame, MeshError } from "#proto";

export interface LinkStream {
  /** False: hold further batches until `drained`. Never throws. */
  write(batch: readonly Frame[]): boolean;
  /** Ends the stream. A server tells the peer `reason`; a client cannot. No event follows. Idempotent. */
  close(reason: MeshError): void;
}

/** MUST NOT be called before the function that makes the stream has returned. */
export interface LinkStreamEvents {
  received(batch: readonly Frame[]): void;
  drained(): void;
  /** Once: the stream ended or broke, whoever caused it, `close` excepted. */
  closed(reason: string): void;
}
