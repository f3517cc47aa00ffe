// Deliberate breaks of the protocol: each makes the code wrong in one place, and the simulation must notice. They prove that the checker
// looks where it says it does. Each names the invariants that it may break.

import type { Invariant } from "./checker.ts";
import type { SourceEdit } from "./source-edits.ts";

export interface Mutation {
  readonly name: string;
  /** What is wrong with it. */
  readonly breaks: readonly Invariant[];
  readonly edits: readonly SourceEdit[];
}

export const mutations: readonly Mutation[] = [];
