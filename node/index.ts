// Facade of node/: what the command line and programs that embed a node use. Applications import "sessionmesh" instead.

export { checkConfig, configDefaults, configFromEnv, configVariables, type NodeConfig } from "./config.ts";
export { createLog, type Log } from "./log.ts";
export type { ModuleReport, SessionInfo } from "./ipc.ts";
export type { NodeInfo } from "./primary/life.ts";
export { runNode, type RunningNode } from "./primary/node.ts";
