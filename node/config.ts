// The configuration of one node: one object, checked once at start. Sources, weakest first: the defaults here, the environment
// (what a container sets), the command line. Every field says what happens when it is too small or too large.

import { readFileSync } from "node:fs";
import os from "node:os";
import { MeshError, isNodeId, oneOf, type NodeRole } from "#proto";
import { OriginList } from "./session/origin-list.ts";
import { trustedProxiesOf, type ProxyHeaders } from "./gateway/trusted-proxies.ts";

export interface NodeConfig {
  /** Name of the mesh: nodes with the same name and registry form one. MESH_NAME. */
  readonly mesh: string;
  /** Id of this node, unique in the mesh. MESH_NODE; default: the host name. */
  readonly node: string;
  /** `gateway` nodes take client traffic and host no session. MESH_ROLE. */
  readonly role: NodeRole;
  /** For placement and operators. MESH_ZONE. */
  readonly zone: string;
  /** For `placement.labels` of session classes. MESH_LABELS, as `key=value,key=value`. */
  readonly labels: Readonly<Record<string, string>>;
  /** Path of the application module. */
  readonly app: string;
  /** Worker processes. Too few leaves cores idle; too many cost 60 MB each and split the sessions finer than needed. MESH_WORKERS. */
  readonly workers: number;
  /** Address the gateway and the link servers bind. MESH_BIND. */
  readonly bind: string;
  /** Address at which other nodes reach this one. MESH_HOST; default: `bind`, or the host name when that is a wildcard. */
  readonly host: string;
  /** Port of the gateway; 0 picks a free one. MESH_PORT. */
  readonly port: number;
  /**
   * A port at which the workers of several nodes on one machine listen together (SO_REUSEPORT, on Linux), besides their own: one address
   * that lives as long as any of them. 0: none. MESH_SHARED_PORT.
   */
  readonly sharedPort: number;
  /** Address the admin port binds. It has no password: keep it on loopback or a private network. MESH_ADMIN_BIND. */
  readonly adminBind: string;
  /** Port of `/_mesh/health` and `/_mesh/status`, in JSON; 0 picks a free one. MESH_ADMIN_PORT. */
  readonly adminPort: number;
  /** Where the registry is: servers of NATS, or the memory of this process (one node only). NATS_URL. */
  readonly registry: { readonly kind: "nats"; readonly url: string } | { readonly kind: "memory" };
  /** Replicas of the registry's bucket; more than 1 needs a NATS cluster of 2.11 or later. MESH_NATS_REPLICAS. */
  readonly natsReplicas: number;
  /**
   * What an empty registry means to the first node. `wait`: it may have lost everything while a mesh runs, so its members get evictMs to
   * say so. `now`: it is known to be new, as when it was started for this mesh. MESH_FOUNDING.
   */
  readonly founding: "wait" | "now";
  /** Folder for the Unix sockets of the links; paths in it must stay under 104 bytes. MESH_SOCKET_DIR. */
  readonly socketDir: string;
  /** Workers with the same value talk through Unix sockets: set it when two machines share a host name. MESH_MACHINE. */
  readonly machine: string;
  /** Pace of the lease's renewal. Smaller: more writes to NATS. Larger: must stay well under suspendMs. MESH_HEARTBEAT_MS. */
  readonly heartbeatMs: number;
  /** Without an acknowledged heartbeat for so long, sessions are held. Smaller: shorter pauses of NATS or the machine show. Larger: see evictMs. MESH_SUSPEND_MS. */
  readonly suspendMs: number;
  /** After so long without a sign, others evict the node. The gap to suspendMs covers the drift of two clocks. MESH_EVICT_MS. */
  readonly evictMs: number;
  /**
   * When no node reaches NATS, all serve on by promising not to evict each other. `hold`: for 75 s, then sessions are held. `serve`: for as
   * long as it lasts; a node that vanishes without a trace while it joins or when most do is then evicted by hand only. The same on
   * all nodes. MESH_REGISTRY_OUTAGE.
   */
  readonly registryOutage: "hold" | "serve";
  /**
   * A worker may take so long to load the application, what it waits for at its top level included; then the start has failed. Smaller than
   * what the application's connections take: the node never starts. MESH_START_LIMIT_MS.
   */
  readonly startLimitMs: number;
  /** On SIGTERM, how long sessions with something under way may take to finish. Idle ones are stopped at once. Keep it under the orchestrator's kill grace. MESH_DRAIN_MS. */
  readonly drainMs: number;
  /** One session may hold up the others of its worker for so long, its end included, which begins 300 ms before. Smaller: long computations are cut off. Larger: its neighbours wait so long. MESH_TURN_BUDGET_MS. */
  readonly turnBudgetMs: number;
  /** One turn that loads code, as the first `import()` of something big does, may hold up the others for so long. Smaller: such imports must be at the top of the application's module. Larger: neighbours wait so long, and links between nodes break. MESH_IMPORT_BUDGET_MS. */
  readonly importBudgetMs: number;
  /** MiB by which a worker may grow while one session holds it. Smaller: big answers are cut off. Larger: the heap limit may come first. MESH_TURN_HEAP_MB. */
  readonly turnHeapMb: number;
  /**
   * MiB that one worker may use, objects and buffers together; 0: what Node allows a process on this machine. Smaller: fewer sessions fit.
   * Larger: all workers together must fit into the machine. MESH_WORKER_MEMORY_MB.
   */
  readonly workerMemoryMb: number;
  /**
   * Percent of that, in use after a full collection, at which a worker takes no new sessions, and looks for one that grows. Smaller:
   * memory lies idle. Larger: a fast leak reaches the limit before it is found. MESH_MEMORY_MARK.
   */
  readonly memoryMarkPercent: number;
  /** A worker may stay above the mark for so long before it is replaced. Smaller: a burst costs a worker. Larger: it works at its limit for so long. MESH_MEMORY_PATIENCE_MS. */
  readonly memoryPatienceMs: number;
  /** Sessions of isolation `thread` in one worker at once; each costs some 18 MB. Smaller: more of them are refused with `overloaded`. Larger: the machine's memory comes first. MESH_THREADS_MAX. */
  readonly threadsMax: number;
  /** The same for isolation `process`; each costs some 40 MB. MESH_PROCESSES_MAX. */
  readonly processesMax: number;
  /**
   * Proxies in front of the gateway, as addresses and ranges with commas between; none by default. What they say in headers is believed: the client's
   * address, and that it came by https and to which host. Too narrow: `request.url` says http and every client has the proxy's address. Too
   * wide: clients in the range choose their own address. MESH_TRUSTED_PROXIES.
   */
  readonly trustedProxies: readonly string[];
  /** What they write: `x-forwarded` for X-Forwarded-For, -Proto and -Host, `forwarded` for Forwarded (RFC 7239). MESH_PROXY_HEADERS. */
  readonly proxyHeaders: ProxyHeaders;
  /**
   * What clients are told of an error of the application. `brief`: that there was one. `detailed`: which, and in which line, which shows the inside to
   * everybody; `mesh dev` sets it. MESH_CLIENT_ERRORS.
   */
  readonly clientErrors: "brief" | "detailed";
  /**
   * Origins of pages that may open WebSockets, with commas between, in the place of the application's own `origins`; none set by default.
   * Written like `https://app.example.com`, `https://*.example.com` or `self`. MESH_ALLOWED_ORIGINS.
   */
  readonly allowedOrigins: readonly string[];
  /** `json` for machines, `text` for people. MESH_LOG. */
  readonly log: "json" | "text";
}

export const configDefaults = {
  mesh: "mesh",
  role: "host",
  zone: "",
  workers: 2,
  bind: "0.0.0.0",
  port: 8080,
  sharedPort: 0,
  adminBind: "127.0.0.1",
  adminPort: 9080,
  natsReplicas: 1,
  founding: "wait",
  heartbeatMs: 500,
  suspendMs: 2_000,
  evictMs: 3_000,
  registryOutage: "hold",
  startLimitMs: 60_000,
  drainMs: 20_000,
  turnBudgetMs: 1_000,
  importBudgetMs: 10_000,
  turnHeapMb: 256,
  workerMemoryMb: 0,
  memoryMarkPercent: 70,
  memoryPatienceMs: 30_000,
  threadsMax: 64,
  processesMax: 16,
  proxyHeaders: "x-forwarded",
  clientErrors: "brief",
  log: "text",
} as const;

/** Throws `bad_config`, naming the variable and what it should be. */
export function configFromEnv(env: Readonly<Record<string, string | undefined>>, app: string): NodeConfig {
  const bind = env["MESH_BIND"] ?? configDefaults.bind;
  const wildcard = bind === "0.0.0.0" || bind === "::";
  return checkConfig({
    app,
    mesh: env["MESH_NAME"] ?? configDefaults.mesh,
    node: env["MESH_NODE"] ?? os.hostname(),
    role: choice(env, "MESH_ROLE", ["host", "gateway"], configDefaults.role),
    zone: env["MESH_ZONE"] ?? configDefaults.zone,
    labels: labelsFrom(env["MESH_LABELS"] ?? ""),
    workers: whole(env, "MESH_WORKERS", configDefaults.workers),
    bind,
    host: env["MESH_HOST"] ?? (wildcard ? os.hostname() : bind),
    port: whole(env, "MESH_PORT", configDefaults.port),
    sharedPort: whole(env, "MESH_SHARED_PORT", configDefaults.sharedPort),
    adminBind: env["MESH_ADMIN_BIND"] ?? configDefaults.adminBind,
    adminPort: whole(env, "MESH_ADMIN_PORT", configDefaults.adminPort),
    registry: env["NATS_URL"] === undefined ? { kind: "memory" } : { kind: "nats", url: env["NATS_URL"] },
    natsReplicas: whole(env, "MESH_NATS_REPLICAS", configDefaults.natsReplicas),
    founding: choice(env, "MESH_FOUNDING", ["wait", "now"], configDefaults.founding),
    socketDir: env["MESH_SOCKET_DIR"] ?? os.tmpdir(),
    machine: env["MESH_MACHINE"] ?? machineId(),
    heartbeatMs: whole(env, "MESH_HEARTBEAT_MS", configDefaults.heartbeatMs),
    suspendMs: whole(env, "MESH_SUSPEND_MS", configDefaults.suspendMs),
    evictMs: whole(env, "MESH_EVICT_MS", configDefaults.evictMs),
    registryOutage: choice(env, "MESH_REGISTRY_OUTAGE", ["hold", "serve"], configDefaults.registryOutage),
    startLimitMs: whole(env, "MESH_START_LIMIT_MS", configDefaults.startLimitMs),
    drainMs: whole(env, "MESH_DRAIN_MS", configDefaults.drainMs),
    turnBudgetMs: whole(env, "MESH_TURN_BUDGET_MS", configDefaults.turnBudgetMs),
    importBudgetMs: whole(env, "MESH_IMPORT_BUDGET_MS", configDefaults.importBudgetMs),
    turnHeapMb: whole(env, "MESH_TURN_HEAP_MB", configDefaults.turnHeapMb),
    workerMemoryMb: whole(env, "MESH_WORKER_MEMORY_MB", configDefaults.workerMemoryMb),
    memoryMarkPercent: whole(env, "MESH_MEMORY_MARK", configDefaults.memoryMarkPercent),
    memoryPatienceMs: whole(env, "MESH_MEMORY_PATIENCE_MS", configDefaults.memoryPatienceMs),
    threadsMax: whole(env, "MESH_THREADS_MAX", configDefaults.threadsMax),
    processesMax: whole(env, "MESH_PROCESSES_MAX", configDefaults.processesMax),
    trustedProxies: listFrom(env["MESH_TRUSTED_PROXIES"] ?? ""),
    proxyHeaders: choice(env, "MESH_PROXY_HEADERS", ["x-forwarded", "forwarded"], configDefaults.proxyHeaders),
    clientErrors: choice(env, "MESH_CLIENT_ERRORS", ["brief", "detailed"], configDefaults.clientErrors),
    allowedOrigins: listFrom(env["MESH_ALLOWED_ORIGINS"] ?? ""),
    log: choice(env, "MESH_LOG", ["json", "text"], configDefaults.log),
  });
}

/** Every variable of ours that is read. */
export function configVariables(): string[] {
  // The log reads this one.
  const read = new Set(["MESH_DEBUG"]);
  const asked = new Proxy<Record<string, string>>({}, { get: (_, name) => void read.add(String(name)) });
  try {
    configFromEnv(asked, "app.ts");
  } catch {
    // The host's own name may be no name for a node. All has been read by then.
  }
  return [...read].filter((name) => name.startsWith("MESH_"));
}

/** The config itself when its fields fit each other; throws `bad_config` with what to change. */
export function checkConfig(config: NodeConfig): NodeConfig {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(config.mesh)) {
    throw bad(`MESH_NAME "${config.mesh}" must be 1 to 32 of A-Z, a-z, 0-9, "_" and "-": it names a NATS bucket`);
  }
  if (!isNodeId(config.node)) {
    throw bad(`MESH_NODE "${config.node}" must be 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-"`);
  }
  if (config.workers < 1 || config.workers > 256) throw bad(`MESH_WORKERS must be 1 to 256, not ${config.workers}`);
  for (const [name, port] of [
    ["MESH_PORT", config.port],
    ["MESH_SHARED_PORT", config.sharedPort],
    ["MESH_ADMIN_PORT", config.adminPort],
  ] as const) {
    if (port > 65_535) throw bad(`${name} must be 0 to 65535, not ${port}`);
  }
  if (config.port !== 0 && config.port === config.adminPort) throw bad("MESH_PORT and MESH_ADMIN_PORT must differ");
  if (config.heartbeatMs < 50) throw bad("MESH_HEARTBEAT_MS must be 50 or more");
  if (config.heartbeatMs * 2 > config.suspendMs) {
    throw bad("MESH_SUSPEND_MS must be at least twice MESH_HEARTBEAT_MS, or one late heartbeat suspends the node");
  }
  if (config.evictMs < config.suspendMs * 1.25) {
    throw bad(
      "MESH_EVICT_MS must be at least 1.25 times MESH_SUSPEND_MS: a node must have stopped before others take over",
    );
  }
  if (config.startLimitMs < 1_000) throw bad("MESH_START_LIMIT_MS must be 1000 or more: Node itself needs some of it");
  if (config.turnBudgetMs < 50 || config.turnBudgetMs > 60_000) {
    throw bad(`MESH_TURN_BUDGET_MS must be 50 to 60000, not ${config.turnBudgetMs}`);
  }
  if (config.importBudgetMs > 60_000) {
    throw bad(`MESH_IMPORT_BUDGET_MS must be 0 to 60000, not ${config.importBudgetMs}`);
  }
  if (config.turnHeapMb < 16)
    throw bad("MESH_TURN_HEAP_MB must be 16 or more: a worker grows by that in its normal work");
  if (config.workerMemoryMb !== 0 && config.workerMemoryMb < 64) {
    throw bad("MESH_WORKER_MEMORY_MB must be 0, for what Node allows, or 64 or more: an empty worker needs some 20");
  }
  if (config.memoryMarkPercent < 10 || config.memoryMarkPercent > 95) {
    throw bad(`MESH_MEMORY_MARK must be 10 to 95 percent, not ${config.memoryMarkPercent}`);
  }
  trustedProxiesOf(config);
  allowedOriginsOf(config);
  return config;
}

/** Undefined: the application says. Throws `bad_config`. */
export function allowedOriginsOf({ allowedOrigins }: Pick<NodeConfig, "allowedOrigins">): OriginList | undefined {
  return allowedOrigins.length === 0 ? undefined : new OriginList(allowedOrigins, "MESH_ALLOWED_ORIGINS", "bad_config");
}

/** Host name and boot id: equal in processes that share a kernel and a host name, different in any two containers. */
function machineId(): string {
  try {
    return `${os.hostname()}-${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}`;
  } catch {
    return os.hostname();
  }
}

function labelsFrom(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split(",")
      .filter((part) => part.trim() !== "")
      .map((part) => {
        const [key = "", value] = part.split("=", 2).map((side) => side.trim());
        if (key === "" || value === undefined)
          throw bad(`MESH_LABELS must look like "disk=ssd,tier=gold", not "${text}"`);
        return [key, value];
      }),
  );
}

function listFrom(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function whole(env: Readonly<Record<string, string | undefined>>, name: string, fallback: number): number {
  const text = env[name];
  if (text === undefined || text === "") return fallback;
  if (!/^\d{1,9}$/.test(text)) throw bad(`${name} must be a whole number, not "${text}"`);
  return Number(text);
}

function choice<T extends string>(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  allowed: readonly T[],
  fallback: T,
): T {
  const text = env[name];
  if (text === undefined || text === "") return fallback;
  try {
    return oneOf(text, allowed, name);
  } catch {
    throw bad(`${name} must be one of ${allowed.join(", ")}, not "${text}"`);
  }
}

function bad(message: string): MeshError {
  return new MeshError("bad_config", message);
}
