// A scenario: servers started, loaded side by side with their control, and ended again.

import type { Pace } from "./pace.ts";
import type { Row } from "./row.ts";

export interface Setting {
  readonly pace: Pace;
  /** Meshes write their CPU profiles there. */
  readonly profileDir: string | undefined;
  /** Progress, for a person who waits. */
  readonly say: (message: string) => void;
}

export interface Scenario {
  /** For --only. */
  readonly name: string;
  readonly needsWrk: boolean;
  run(setting: Setting): Promise<Row[]>;
}
