// Frames of a link in memory and their codec. The wire form is mesh.proto, read at start by protobufjs; the frames of requests and
// messages are written by frame-writer.ts. A decoder gets
// bytes from a peer, so it rejects what is not a batch of well-formed frames with `bad_frame` and never half-decodes.

import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { MeshError } from "./error.ts";
import type { Fence } from "./fence.ts";
import { checkFrame } from "./frame-check.ts";
import { writeBatch } from "./frame-writer.ts";

/** Header names and values in turn, as they came: `[name, value, name, value]`. */
export type HeaderList = readonly string[];

export interface HostedSession {
  readonly key: string;
  readonly fence: Fence;
}

export interface OpenFrame {
  readonly epoch: number;
  readonly key: string;
  readonly method: string;
  readonly url: string;
  readonly headers: HeaderList;
  readonly upgrade: boolean;
  readonly onlyIfActive: boolean;
  readonly timeoutMs: number;
  readonly body: Uint8Array;
  readonly streamed: boolean;
  readonly stale: string;
  readonly ip: string;
  readonly claims: Uint8Array;
  readonly protocol: string;
}

export interface HeadFrame {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  readonly streamed: boolean;
}

/** One operation on a key of the registry, in the name of the asking node; fields as in the key-value port. */
export interface RelayFrame {
  readonly operation: "get" | "create" | "update" | "remove";
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
}

export interface RelayedFrame {
  /** `away`: no contact, nothing was done. `unknown`: it may have been done, may yet be, or never will. */
  readonly outcome: "away" | "entry" | "none" | "written" | "conflict" | "unknown";
  readonly value: Uint8Array;
  readonly revision: number;
  readonly epoch: number;
}

/** Exactly one of the questions is set. */
export interface AskFrame {
  readonly epoch: number;
  readonly recover?: { readonly partitions: Uint8Array } | null;
  readonly grant?: { readonly key: string; readonly fence: Fence } | null;
  readonly locate?: { readonly key: string; readonly fence: Fence } | null;
  readonly place?: { readonly key: string } | null;
  readonly contact?: { readonly node: string; readonly incarnation: string } | null;
  readonly ended?: { readonly sessions: readonly HostedSession[] } | null;
  readonly relay?: RelayFrame | null;
}

export interface AnswerFrame {
  readonly ok: boolean;
  readonly sessions: readonly HostedSession[];
  readonly more: boolean;
  /** Set in the answer to `relay`. */
  readonly relayed?: RelayedFrame | null;
}

interface FrameBodies {
  readonly hello: { readonly from: string; readonly to: string; readonly epoch: number; readonly mesh: string };
  readonly open: OpenFrame;
  readonly head: HeadFrame;
  readonly moved: { readonly worker: string; readonly epoch: number };
  readonly data: { readonly bytes: Uint8Array; readonly end: boolean };
  readonly message: { readonly bytes: Uint8Array; readonly binary: boolean };
  readonly credit: { readonly bytes: number };
  readonly close: { readonly code: number; readonly reason: string; readonly clean: boolean };
  readonly reset: { readonly code: string; readonly message: string; readonly retryAfterMs: number };
  readonly ask: AskFrame;
  readonly answer: AnswerFrame;
  readonly view: { readonly epoch: number };
}

export type FrameType = keyof FrameBodies;

/** `type` names the one field that holds the body, so a switch over it narrows the rest. */
export type Frame = {
  [T in FrameType]: { readonly stream: number; readonly type: T } & { readonly [B in T]: FrameBodies[T] };
}[FrameType];

const root = protobuf.loadSync(fileURLToPath(new URL("./mesh.proto", import.meta.url)));
const batchType = root.lookupType("sessionmesh.v1.Batch");
useEmptyBuffers(root.lookup("sessionmesh.v1"));

/** gRPC path of the one method that links use. */
export const LINK_METHOD_PATH = "/sessionmesh.v1.Link/Connect";

export function encodeBatch(frames: readonly Frame[]): Buffer {
  return writeBatch(frames) ?? encodeAnyBatch(frames);
}

/** What knows the schema alone. */
export function encodeAnyBatch(frames: readonly Frame[]): Buffer {
  // In Node protobufjs writes into Buffers; the method's type only promises a Uint8Array.
  return asBuffer(batchType.encode({ frames }).finish());
}

/** Throws `bad_frame`. Byte fields are views into `bytes`, not copies. */
export function decodeBatch(bytes: Uint8Array): Frame[] {
  let decoded: { frames: DecodedFrame[] };
  try {
    decoded = batchType.decode(bytes) as unknown as { frames: DecodedFrame[] };
  } catch (cause) {
    throw new MeshError("bad_frame", "a peer sent bytes that are not a batch of frames", { cause });
  }
  for (const frame of decoded.frames) {
    // A oneof's virtual getter `body` names the field that is set.
    const type = frame.body;
    if (type === undefined) throw new MeshError("bad_frame", "a peer sent a frame without a body of a known type");
    frame.type = type;
    checkFrame(frame as unknown as Frame);
  }
  return decoded.frames as unknown as Frame[];
}

interface DecodedFrame {
  body?: FrameType;
  type?: FrameType;
}

/** protobufjs reads a bytes field that was left out as `[]`, which no API for bytes takes: make it an empty Buffer. */
function useEmptyBuffers(within: protobuf.ReflectionObject | null): void {
  if (!(within instanceof protobuf.Namespace)) return;
  within.nestedArray.forEach(useEmptyBuffers);
  if (!(within instanceof protobuf.Type)) return;
  for (const field of within.fieldsArray) {
    if (field.type === "bytes") Object.assign(within.ctor.prototype, { [field.resolve().name]: Buffer.alloc(0) });
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
