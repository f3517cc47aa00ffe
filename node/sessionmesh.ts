// The public package: what an application module imports.

// Request, Response and their like are Node's, whatever an application's tsconfig.json names.
/// <reference types="node" preserve="true" />

export { MeshError, type Claims, type ErrorCode } from "#proto";
export {
  defineMesh,
  type ApplicationFetch,
  type ApplicationMesh,
  type MeshApplication,
  type MeshDefinition,
} from "./session/application.ts";
export type { Authorize, BeforeHook, Lobby, ProtocolChoice, Verdict, Visit } from "./session/admission.ts";
export type { CorsOptions, EdgeOptions, Rate, RateOptions } from "./session/edge-options.ts";
export type { Caller } from "./session/caller.ts";
export type { SessionContext } from "./session/context.ts";
export type { StopReason } from "./session/end-reason.ts";
export type { ErrorOrigin } from "./session/error-origin.ts";
export type { SessionOptions } from "./session/options.ts";
export { SessionServer, type BroadcastOptions, type SessionClass } from "./session/server.ts";
export type { SocketMessage } from "./session/socket-message.ts";
export type { SessionSocket } from "./session/socket.ts";
export type { MeshSessions, MeshStub, StubOptions } from "./session/stub.ts";
export type { Log } from "./log.ts";
