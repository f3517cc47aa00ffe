// What the wire form cannot say about a frame. protobuf leaves out what is absent and carries any double, so a peer with a bug
// could send an epoch of NaN (older than nothing, newer than nothing) or a grant without a fence. Each frame is looked at
// once, where it is decoded; everything behind that trusts the types in frame.ts.

import { CLAIMS_BYTES_MAX } from "./claims.ts";
import { MeshError } from "./error.ts";
import type { AskFrame, Frame, HeaderList, HostedSession, RelayedFrame, RelayFrame } from "./frame.ts";
import type { Fence } from "./fence.ts";

/** HTTP has three digits for a status; Node refuses to write any other. */
const STATUS_MIN = 100;
const STATUS_MAX = 999;
/** WebSocket close codes are 16 bits wide. */
const CLOSE_CODE_MAX = 65_535;
const OPERATIONS: ReadonlySet<string> = new Set<RelayFrame["operation"]>(["get", "create", "update", "remove"]);
const OUTCOMES: ReadonlySet<string> = new Set<RelayedFrame["outcome"]>([
  ...(["away", "entry", "none", "written", "conflict", "unknown"] as const),
]);

/** Throws `bad_frame` when a field of the frame is out of its range. */
export function checkFrame(frame: Frame): void {
  switch (frame.type) {
    case "hello":
      return checkWhole(frame.hello.epoch, "hello.epoch");
    case "open":
      checkWhole(frame.open.epoch, "open.epoch");
      // Infinity is what a class without a time-out asks for; a double carries it.
      if (!(frame.open.timeoutMs >= 0)) throw bad("open.timeoutMs");
      if (frame.open.claims.byteLength > CLAIMS_BYTES_MAX) throw bad("open.claims");
      return checkHeaders(frame.open.headers, "open.headers");
    case "head":
      if (frame.head.status < STATUS_MIN || frame.head.status > STATUS_MAX) throw bad("head.status");
      return checkHeaders(frame.head.headers, "head.headers");
    case "moved":
      return checkWhole(frame.moved.epoch, "moved.epoch");
    case "close":
      if (frame.close.code > CLOSE_CODE_MAX) throw bad("close.code");
      return;
    case "reset":
      return checkMs(frame.reset.retryAfterMs, "reset.retryAfterMs");
    case "ask":
      return checkAsk(frame.ask);
    case "answer":
      if (frame.answer.relayed != null) checkRelayed(frame.answer.relayed);
      return checkHosted(frame.answer.sessions, "answer.sessions");
    case "view":
      return checkWhole(frame.view.epoch, "view.epoch");
    case "data":
    case "message":
    case "credit":
      return;
  }
}

function checkAsk(ask: AskFrame): void {
  checkWhole(ask.epoch, "ask.epoch");
  const questions = [ask.recover, ask.grant, ask.locate, ask.place, ask.contact, ask.ended, ask.relay].filter(
    (question) => question != null,
  );
  if (questions.length !== 1) throw bad("ask");
  if (ask.grant != null) checkFence(ask.grant.fence, "ask.grant.fence");
  if (ask.locate != null) checkFence(ask.locate.fence, "ask.locate.fence");
  if (ask.ended != null) checkHosted(ask.ended.sessions, "ask.ended.sessions");
  if (ask.relay != null) checkRelay(ask.relay);
}

function checkRelay({ operation, revision }: RelayFrame): void {
  if (!OPERATIONS.has(operation)) throw bad("ask.relay.operation");
  checkWhole(revision, "ask.relay.revision");
}

function checkRelayed({ outcome, revision, epoch }: RelayedFrame): void {
  if (!OUTCOMES.has(outcome)) throw bad("answer.relayed.outcome");
  checkWhole(revision, "answer.relayed.revision");
  checkWhole(epoch, "answer.relayed.epoch");
}

function checkHosted(sessions: readonly HostedSession[], path: string): void {
  for (const session of sessions) checkFence(session.fence, `${path}.fence`);
}

/** A message that was left out decodes as null, whatever its type here says. */
function checkFence(fence: Fence | null, path: string): void {
  if (fence === null) throw bad(path);
  checkWhole(fence.epoch, path);
  checkWhole(fence.claim, path);
}

function checkHeaders(headers: HeaderList, path: string): void {
  if (headers.length % 2 !== 0) throw bad(path);
}

function checkWhole(value: number, path: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw bad(path);
}

function checkMs(value: number, path: string): void {
  if (!Number.isFinite(value) || value < 0) throw bad(path);
}

function bad(path: string): MeshError {
  return new MeshError("bad_frame", `a peer sent a frame whose ${path} is missing or out of range`);
}
