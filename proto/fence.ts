// Fencing tokens. Each activation of a session has one; for a name they only rise, because an owner's counter only
// rises and an owner changes only with the epoch.

export interface Fence {
  /** Epoch of the view in which the owner granted the activation. */
  readonly epoch: number;
  /** Claim counter of the partition owner. Invariant: rises with each grant of one worker incarnation. */
  readonly claim: number;
}

/** Negative when `a` is older than `b`, 0 when they are the same token. */
export function compareFences(a: Fence, b: Fence): number {
  return a.epoch - b.epoch || a.claim - b.claim;
}

/** `epoch.claim`, for people and JSON. */
export function formatFence(fence: Fence): string {
  return `${fence.epoch}.${fence.claim}`;
}
