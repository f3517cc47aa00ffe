// Facade of proto/: what travels between members or is stored, ids, error codes, and codecs that reject malformed bytes.

export { CLAIMS_BYTES_MAX, decodeClaims, encodeClaims, isClaims, type Claims } from "./claims.ts";
export {
  MeshError,
  errorKinds,
  isErrorCode,
  messageOf,
  problemOf,
  type ErrorCode,
  type ErrorContext,
} from "./error.ts";
export { traceOf } from "./error-trace.ts";
export { compareFences, formatFence, type Fence } from "./fence.ts";
export {
  LINK_METHOD_PATH,
  decodeBatch,
  encodeBatch,
  type AnswerFrame,
  type AskFrame,
  type Frame,
  type FrameType,
  type HeadFrame,
  type HeaderList,
  type HostedSession,
  type OpenFrame,
  type RelayFrame,
  type RelayedFrame,
} from "./frame.ts";
export { integer, list, oneOf, parseJson, record, text } from "./json.ts";
export { decodeLease, encodeLease, type EvictedLease, type Lease, type LiveLease, type WorkerLoad } from "./lease.ts";
export {
  NAME_BYTES_MAX,
  isKind,
  parseSessionId,
  parseSessionKey,
  type SessionId,
  type SessionKey,
} from "./session-id.ts";
export {
  canHost,
  canOwn,
  decodeView,
  emptyView,
  encodeView,
  isNodeId,
  membersOf,
  nodeOf,
  parseWorkerId,
  slotOf,
  workerIdOf,
  type Member,
  type NodeRecord,
  type NodeRole,
  type NodeState,
  type View,
  type WorkerAddress,
  type WorkerId,
  type WorkerRecord,
} from "./view.ts";
