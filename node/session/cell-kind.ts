// What all cells of one session kind on one worker share: class, options, idle list, and the services of their host.

import type { Lease, Clock } from "#mesh";
import type { Log } from "../log.ts";
import type { SessionKind } from "./application.ts";
import type { Cell } from "./cell.ts";
import type { CutOffLog } from "./cut-off-log.ts";
import type { DeadlineSweep } from "./deadline-sweep.ts";
import type { EndReason } from "./end-reason.ts";
import type { ClientErrors } from "./failure-text.ts";
import { IdleList } from "./idle-list.ts";
import type { ResolvedOptions } from "./options.ts";
import type { SessionClass } from "./server.ts";
import type { MeshSessions } from "./stub.ts";

/** What a cell needs from its host. */
export interface CellHost {
  readonly node: string;
  readonly worker: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly lease: Lease;
  readonly clock: Clock;
  readonly deadlines: DeadlineSweep;
  readonly cutOffs: CutOffLog;
  readonly stubs: MeshSessions;
  readonly clientErrors: ClientErrors;
  /** Whole milliseconds since the host began, as of the last sweep: reading a clock at each event would cost more than it tells. */
  readonly nowMs: number;
  /** Requests, messages and timers so far. */
  events: number;
  /** Resumes the cell once the lease is open. */
  hold(cell: Cell): void;
  /** Exactly once a cell. */
  cellEnded(cell: Cell, reason: EndReason, error: unknown): void;
}

export class CellKind {
  readonly name: string;
  readonly server: SessionClass;
  readonly options: ResolvedOptions;
  readonly answers: boolean;
  readonly takesSockets: boolean;
  readonly host: CellHost;
  readonly idle = new IdleList<Cell>();

  constructor(kind: SessionKind, host: CellHost) {
    this.name = kind.name;
    this.server = kind.server;
    this.options = kind.options;
    this.answers = kind.answers;
    this.takesSockets = kind.takesSockets;
    this.host = host;
  }
}
