// A scenario: servers started, loaded side by side with their control, and ended again.

import type { Pace } from "./pace.ts";
import type { Row } from "./row.ts";

export interface Setting {
  readonly pace: Pace;
  readonly profile?: Profile;
  /** Progress, for a person who waits. */
  readonly say: (message: string) => void;
}

export interface Profile {
  /** Meshes write the CPU profiles of their processes there when they end. */
  readonly folder: string;
  /** When the mesh was measured, in microseconds of the monotonic clock: starts, warm-ups and ends are left out of account. */
  readonly windows: { readonly fromUs: number; readonly toUs: number }[];
}

export interface Scenario {
  /** For --only. */
  readonly name: string;
  readonly needsWrk: boolean;
  run(setting: Setting): Promise<Row[]>;
}
