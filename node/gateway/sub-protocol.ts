// Which of the sub-protocols that a client offers a socket will speak: the class says. Without its word none is chosen, which the protocol
// allows (RFC 6455, 4.2.2) and which conforming clients that insist on one then refuse.

import { MeshError, type HeaderList } from "#proto";
import type { SessionCall } from "#mesh";
import type { Log } from "../log.ts";
import type { ProtocolChoice } from "../session/admission.ts";
import { visit } from "../session/visiting.ts";
import { requestOf } from "../web/web.ts";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** "" for none. Throws `bad_request` when the offer is malformed; an error of the application's own choice is logged, and `internal`. */
export function chooseProtocol(call: SessionCall, choice: ProtocolChoice | undefined, log: Log): string {
  const offered = offeredIn(call.headers);
  if (offered.length === 0 || choice === undefined) return "";
  if (typeof choice !== "function") return choice.find((protocol) => offered.includes(protocol)) ?? "";
  const { method, url, headers, ip } = call;
  const request = requestOf({ method, url, headers, body: null }, () => AbortSignal.abort());
  try {
    const chosen: unknown = visit(ip, () => choice(offered, request));
    if (chosen === undefined) return "";
    if (typeof chosen === "string" && offered.includes(chosen)) return chosen;
    throw new TypeError("static protocols() must return one of the protocols that it was offered, or undefined");
  } catch (error) {
    if (error instanceof MeshError) throw error;
    log.error(`choosing a sub-protocol for ${call.id.kind} failed, so the socket was refused`, { error });
    throw new MeshError("internal", "the application could not choose a sub-protocol", { cause: error });
  }
}

function offeredIn(headers: HeaderList): string[] {
  const offered: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    if (headers[at]?.toLowerCase() !== "sec-websocket-protocol") continue;
    offered.push(...(headers[at + 1] ?? "").split(",").map((entry) => entry.trim()));
  }
  if (offered.every((entry) => TOKEN.test(entry)) && new Set(offered).size === offered.length) return offered;
  throw new MeshError("bad_request", "Sec-WebSocket-Protocol must list names, each once, with commas between");
}
