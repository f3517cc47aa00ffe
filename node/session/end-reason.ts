// Why a session server ended, as the registry records it, and how each orderly stop looks from outside.

/** Exactly one of these is reported for every server. (`lost` is what others say of a host that died.) */
export type EndReason = "idle" | "destroyed" | "stopped" | "drained" | "moved" | "crashed" | "killed" | "evicted";

/** What `onStop` is told. A crash, a kill and an eviction never call it. */
export type StopReason =
  /** Nothing happened for `idleMs`. */
  | "idle"
  /** The session called `ctx.destroy()`. */
  | "destroy"
  /** An operator stopped it. */
  | "stop"
  /** The node leaves the mesh. */
  | "drain"
  /** The worker's process ends. */
  | "shutdown"
  /** Another worker takes the session over. */
  | "move";

interface StopEnding {
  readonly reason: EndReason;
  /** Close code for the sockets that are still open; 1012 tells clients to connect again. */
  readonly closeCode: number;
}

export const stopEndings: Readonly<Record<StopReason, StopEnding>> = {
  idle: { reason: "idle", closeCode: 1001 },
  destroy: { reason: "destroyed", closeCode: 1000 },
  stop: { reason: "stopped", closeCode: 1001 },
  drain: { reason: "drained", closeCode: 1012 },
  shutdown: { reason: "stopped", closeCode: 1012 },
  move: { reason: "moved", closeCode: 1012 },
};
