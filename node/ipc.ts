// What a node's primary and its workers say to each other over IPC. Both ends are of one version and one machine, so the
// messages are trusted; they are structured-cloned ("advanced" serialisation).

import type { ContactAnswer } from "#mesh";
import type { ErrorCode, RelayedFrame, RelayFrame, View, WorkerAddress, WorkerLoad } from "#proto";
import type { NodeConfig } from "./config.ts";

/** Environment variable in which a worker finds its WorkerBoot. */
export const WORKER_BOOT_ENV = "SESSIONMESH_WORKER_BOOT";

export interface WorkerBoot {
  readonly config: NodeConfig;
  readonly index: number;
  readonly incarnation: string;
  /** Tell which modules the application imports. */
  readonly tellModules: boolean;
}

export type ToWorker =
  | { readonly type: "view"; readonly view: View }
  /** The node may act until then, on the system clock. */
  | { readonly type: "deadline"; readonly deadline: number }
  | { readonly type: "loads"; readonly loads: ReadonlyMap<string, readonly WorkerLoad[]> }
  /** Take no new session; serve on. */
  | { readonly type: "drain" }
  /** From now on sessions are stopped in order as soon as nothing of them is under way. */
  | { readonly type: "empty" }
  /** End all sessions in order, take no clients any more, and say `stopped`; peers are answered until `exit`. */
  | { readonly type: "stop"; readonly reason: "drain" | "shutdown"; readonly limitMs: number }
  /** Close the links, after `graceMs` at most for peers to leave, and exit. */
  | { readonly type: "exit"; readonly graceMs: number }
  /** The node was evicted: drop everything at once and exit. */
  | { readonly type: "fence"; readonly reason: string }
  | { readonly type: "query"; readonly id: number; readonly query: WorkerQuery }
  /** Answers `contact`. */
  | { readonly type: "contact"; readonly id: number; readonly promised: boolean }
  /** Answers `relay`. */
  | { readonly type: "relay"; readonly id: number; readonly relayed: RelayedFrame };

export type FromWorker =
  /** Begins to load the application; later, once, that it is slow, and what is known of why. */
  | { readonly type: "loading"; readonly why?: string }
  | { readonly type: "modules"; readonly modules: ModuleReport }
  /** The application is loaded, links are answered, and client traffic is taken at `port` (it waits until there is a view). */
  | { readonly type: "listening"; readonly address: WorkerAddress; readonly port: number; readonly serves: Serves }
  /** In the view, with every partition of its own open. */
  | { readonly type: "settled" }
  /** A peer has shown an epoch that our view has not reached. */
  | { readonly type: "refresh"; readonly epoch: number }
  /** `accepting`: new sessions may start; false from the drain on. */
  | { readonly type: "load"; readonly load: WorkerLoad; readonly accepting: boolean }
  | { readonly type: "answer"; readonly id: number; readonly answer: WorkerAnswer }
  /** A peer's node asks whether ours has contact to the registry. */
  | { readonly type: "contact"; readonly id: number; readonly node: string; readonly incarnation: string }
  /** A peer's node without contact asks ours to do something there. */
  | { readonly type: "relay"; readonly id: number; readonly node: string; readonly ask: RelayFrame }
  | { readonly type: "stopped" }
  /** Something to tell the world. */
  | { readonly type: "event"; readonly event: FaultEvent }
  /** Whether this Node can end a single session by force. If not, a session that holds its worker costs the worker. */
  | { readonly type: "watchdog"; readonly contained: boolean }
  /** A session of it loads code, for longer than a turn may take: not silent, though it says nothing else. */
  | { readonly type: "importing" }
  /** Cannot start; the process exits after this. */
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string };

/** What the application answers, for whoever suggests what to try. */
export interface Serves {
  /** In the order of the application. `http`: requests; `sockets`: WebSockets. */
  readonly kinds: readonly { readonly kind: string; readonly http: boolean; readonly sockets: boolean }[];
  /** It routes requests itself: what its paths are, it knows alone. */
  readonly ownFetch: boolean;
}

/** What an application imports, as it happens. Absolute paths; those of packages in node_modules are left out. */
export interface ModuleReport {
  readonly files: readonly string[];
  /** Where modules could be that were not found: one that appears there is a reason to try again. */
  readonly missing: readonly string[];
  /** When it was written down, on the system clock: a file that changed later is not what was loaded. */
  readonly atMs: number;
}

/** A session that ended badly, as the events of the registry tell it: docs/registry.md. */
export interface FaultEvent {
  readonly kind: "crashed" | "killed";
  /** `kind/name` */
  readonly session: string;
  readonly worker: number;
  /** Of a kill, what for; of a crash, the name of the error. */
  readonly reason: string;
  /** How long it had held its worker, where it was killed for that. */
  readonly durationMs?: number;
  readonly message: string;
  /** ISO 8601. */
  readonly at: string;
  /** Events of this worker that were not told since the one before. */
  readonly dropped?: number;
}

/** Questions to one worker: those of the registry service, and the primary's own to other nodes. */
export type WorkerQuery =
  | { readonly op: "list"; readonly kind: string | undefined; readonly after: string; readonly limit: number }
  | { readonly op: "count"; readonly kind: string | undefined }
  | { readonly op: "describe"; readonly key: string }
  | { readonly op: "where"; readonly key: string }
  /** Ask the node `to` in the name of ours; see `Router.askContact`. */
  | {
      readonly op: "contact";
      readonly to: string;
      readonly about: { readonly node: string; readonly incarnation: string };
      readonly timeoutMs: number;
    }
  /** Ask the node `to` to do something in the registry for ours; see `Router.askRelay`. */
  | { readonly op: "relay"; readonly to: string; readonly ask: RelayFrame; readonly timeoutMs: number };

export type WorkerAnswer =
  | { readonly op: "list"; readonly sessions: readonly SessionInfo[] }
  | { readonly op: "count"; readonly count: number }
  | { readonly op: "describe"; readonly session: SessionInfo | undefined }
  /** `owns`: this worker's word on the host is final. */
  | { readonly op: "where"; readonly owns: boolean; readonly host: string | undefined }
  | { readonly op: "contact"; readonly answer: ContactAnswer }
  | { readonly op: "relay"; readonly relayed: RelayedFrame | undefined };

/** What the registry tells of a live session. */
export interface SessionInfo {
  readonly kind: string;
  readonly name: string;
  readonly node: string;
  readonly worker: number;
  /** `epoch.claim` */
  readonly fence: string;
  readonly state: string;
  /** Open WebSockets. */
  readonly sockets: number;
  /** Requests under way. */
  readonly inFlight: number;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly lastActiveAt: string;
}
