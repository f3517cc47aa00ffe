// What a node says to the process that started it with an IPC channel (`mesh up`, `mesh dev`, tests). The other direction has
// no messages: signals stop a node, and so does the end of the channel.

import type { NodeInfo } from "#node";
import { MeshError, integer, isErrorCode, list, oneOf, record, text } from "#proto";

export type NodeMessage =
  | { readonly type: "ready"; readonly info: NodeInfo }
  | { readonly type: "failed"; readonly error: { readonly code: string; readonly message: string } };

/** Throws `bad_frame`. */
export function readNodeMessage(value: unknown): NodeMessage {
  const message = record(value, "message");
  if (oneOf(message["type"], ["ready", "failed"], "message.type") === "ready") {
    return { type: "ready", info: readInfo(record(message["info"], "message.info")) };
  }
  const error = record(message["error"], "message.error");
  return {
    type: "failed",
    error: { code: text(error["code"], "error.code"), message: text(error["message"], "error.message") },
  };
}

export function errorOfFailure(failure: { readonly code: string; readonly message: string }, node: string): MeshError {
  return new MeshError(isErrorCode(failure.code) ? failure.code : "internal", failure.message, { node });
}

function readInfo(info: Record<string, unknown>): NodeInfo {
  return {
    id: text(info["id"], "info.id"),
    gateway: text(info["gateway"], "info.gateway"),
    admin: text(info["admin"], "info.admin"),
    pid: integer(info["pid"], "info.pid"),
    workers: list(info["workers"], "info.workers").map((entry, at) => {
      const worker = record(entry, `info.workers[${at}]`);
      return { index: integer(worker["index"], "worker.index"), pid: integer(worker["pid"], "worker.pid") };
    }),
  };
}
