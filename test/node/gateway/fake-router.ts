// A router without a mesh: sessions are plain functions of the test.

import type { ClientEnd, ConnectReply, SessionCall, SessionReply } from "#mesh";
import { MeshError, parseSessionId, type SessionId } from "#proto";
import { createGateway, type Gateway, type GatewayOptions, type GatewayRouter } from "../../../node/gateway/gateway.ts";
import { createLog } from "../../../node/log.ts";

export interface FakeRouter extends GatewayRouter {
  readonly calls: SessionCall[];
  readonly activated: SessionId[];
}

export interface FakeSessions {
  fetch?: (call: SessionCall) => SessionReply | Promise<SessionReply>;
  connect?: (call: SessionCall, client: ClientEnd) => ConnectReply | Promise<ConnectReply>;
  limits?: Partial<ReturnType<GatewayRouter["limitsOf"]>>;
  accepting?: () => boolean;
}

export function fakeRouter(sessions: FakeSessions): FakeRouter {
  const calls: SessionCall[] = [];
  const activated: SessionId[] = [];
  return {
    calls,
    activated,
    kinds: () => ["counter", "chat"],
    limitsOf: (kind) => {
      if (kind !== "counter" && kind !== "chat") {
        throw new MeshError("unknown_kind", `there is no session kind "${kind}", only counter, chat`);
      }
      return { maxBodyBytes: 1_000_000, maxMessageBytes: 64 * 1024, requestTimeoutMs: 5_000, ...sessions.limits };
    },
    route: (call) => {
      calls.push(call);
      if (sessions.fetch === undefined) throw new MeshError("internal", "no fetch in this test");
      return sessions.fetch(call);
    },
    connect: (call, client) => {
      calls.push(call);
      if (sessions.connect !== undefined) return sessions.connect(call, client);
      return { status: "refused", error: new MeshError("forbidden", "no sockets in this test") };
    },
    createName: (kind) => parseSessionId(kind, "q7Zk/made up"),
    activate: async (id) => void activated.push(id),
    eventsServed: () => 0,
    accepting: sessions.accepting ?? (() => true),
  };
}

export interface Edge extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly router: FakeRouter;
  readonly port: number;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  readonly logged: string[];
}

export async function edgeWith(
  sessions: FakeSessions,
  more: Pick<GatewayOptions, "application" | "sessions" | "limits" | "proxies" | "allowedOrigins"> = {},
): Promise<Edge> {
  const router = fakeRouter(sessions);
  const logged: string[] = [];
  const gateway = createGateway({ router, log: createLog("json", {}, (line) => logged.push(line)), ...more });
  const port = await gateway.listen({ port: 0, bind: "127.0.0.1" });
  return {
    gateway,
    router,
    port,
    url: `http://127.0.0.1:${port}`,
    logged,
    [Symbol.asyncDispose]: () => gateway.close({ graceMs: 0 }),
  };
}

export function reply(body: SessionReply["body"], change: Partial<SessionReply> = {}): SessionReply {
  return { status: 200, statusText: "", headers: [], body, ...change };
}
