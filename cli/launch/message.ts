// What a node says to the process that started it with an IPC channel (`mesh up`, `mesh dev`, tests). The other direction has
// no messages: signals stop a node, and so does the end of the channel.

import type { ModuleReport, NodeInfo } from "#node";
import { MeshError, integer, isErrorCode, list, oneOf, record, text } from "#proto";

export type NodeMessage =
  | { readonly type: "ready"; readonly info: NodeInfo }
  /** The application takes long to load. */
  | { readonly type: "slow"; readonly why: string }
  | { readonly type: "modules"; readonly report: ModuleReport }
  | { readonly type: "failed"; readonly error: { readonly code: string; readonly message: string } };

/** Throws `bad_frame`. */
export function readNodeMessage(value: unknown): NodeMessage {
  const message = record(value, "message");
  const type = oneOf(message["type"], ["ready", "slow", "modules", "failed"], "message.type");
  switch (type) {
    case "ready":
      return { type, info: readInfo(record(message["info"], "message.info")) };
    case "slow":
      return { type, why: text(message["why"], "message.why") };
    case "modules":
      return { type, report: readModules(record(message["report"], "message.report")) };
    case "failed": {
      const error = record(message["error"], "message.error");
      return {
        type,
        error: { code: text(error["code"], "error.code"), message: text(error["message"], "error.message") },
      };
    }
  }
}

export function errorOfFailure(failure: { readonly code: string; readonly message: string }, node: string): MeshError {
  return new MeshError(isErrorCode(failure.code) ? failure.code : "internal", failure.message, { node });
}

function readModules(report: Record<string, unknown>): ModuleReport {
  const paths = (name: string): string[] => list(report[name], name).map((file) => text(file, name));
  return { files: paths("files"), missing: paths("missing"), atMs: integer(report["atMs"], "atMs") };
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
    serves: readServes(record(info["serves"], "info.serves")),
  };
}

function readServes(serves: Record<string, unknown>): NodeInfo["serves"] {
  return {
    kinds: list(serves["kinds"], "serves.kinds").map((entry, at) => {
      const kind = record(entry, `serves.kinds[${at}]`);
      return { kind: text(kind["kind"], "kind"), http: kind["http"] === true, sockets: kind["sockets"] === true };
    }),
    ownFetch: serves["ownFetch"] === true,
  };
}
