// Facade of mesh/: membership, directory, router and links. It never sees application code.

export { SessionCall, type Body, type SessionReply } from "./call.ts";
export type { SessionHost } from "./host.ts";
export type { CallOptions, CallOutcome, LinkListener, LinkService, Links, Served, ServedCall } from "./link/port.ts";
export { createLinks, type LinksOptions } from "./link/links.ts";
export { listenLinks, type ListenLinksOptions } from "./link/grpc-server.ts";
export { PairedLink, type PacketStream } from "./link/paired-link.ts";
export {
  ANSWER_BYTES_MAX,
  SOCKET_WINDOW_BYTES,
  type ClientEnd,
  type ConnectAnswer,
  type ConnectReply,
  type SessionEnd,
} from "./socket.ts";
export type { Kv, KvEntry, KvWrite } from "./kv/port.ts";
export { Router, type Lease, type RouterOptions } from "./router.ts";
export { Roster, type Rostered } from "./roster.ts";
export { systemClock, type Clock } from "./clock.ts";
export { memoryBucket, type MemoryBucket } from "./kv/memory.ts";
export { connectNats } from "./nats/late-link.ts";
export type { NatsLink, ServiceEndpoint } from "./nats/link.ts";
export {
  startMembership,
  type Membership,
  type MembershipEvents,
  type MembershipOptions,
  type PeerPort,
} from "./membership.ts";
export type { ContactAnswer } from "./outage.ts";
export { probe, type ProbeResult, type TcpAddress } from "./probe.ts";
export { followLifeline, serveLifeline, type LifelineServer } from "./lifeline.ts";
export type { LeaseTimings } from "./silence.ts";
export type { LogLine } from "./log.ts";
