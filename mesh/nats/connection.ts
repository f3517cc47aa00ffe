// The first connection of a process to NATS, and how it dials again when it is lost: for ever, by a clock that does not jump.

import { setTimeout as sleep } from "node:timers/promises";
import { errors, type NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { MeshError } from "#proto";
import { Redial } from "./redial.ts";

const RETRY_MS = 250;

/**
 * `url`: one server or several, separated by commas; a user and a password may stand in the first. Throws `bad_config` when they are refused,
 * `registry_unavailable` when no server answers within `ms`.
 */
export async function firstConnection(url: string, name: string, ms: number): Promise<NatsConnection> {
  const servers = url.split(",").map((server) => server.trim());
  const account = accountOf(servers[0] ?? "");
  const until = performance.now() + ms;
  for (;;) {
    const redial = new Redial();
    try {
      return await connect({
        servers: servers.map(withoutAccount),
        ...account,
        name,
        timeout: Math.max(1, until - performance.now()),
        maxReconnectAttempts: -1,
        // By the date, which may step, it is always late enough; when to dial is not a matter of the date.
        reconnectDelayHandler: () => Number.NEGATIVE_INFINITY,
        reconnectToServer: (pool) => {
          // The first is the client's own choice.
          const [server] = pool;
          if (server === undefined) return null;
          return {
            server,
            delay: redial.delay(
              server.listen,
              pool.map(({ listen }) => listen),
            ),
          };
        },
        pingInterval: 2_000,
        maxPingOut: 2,
        // Servers that restart may refuse for a while; a node must not give up for good because of it.
        ignoreAuthErrorAbort: true,
      });
    } catch (cause) {
      if (cause instanceof errors.AuthorizationError) {
        throw new MeshError(
          "bad_config",
          `NATS refuses these credentials: set NATS_URL to nats://user:password@host:4222`,
          {
            cause,
          },
        );
      }
      if (performance.now() + RETRY_MS >= until) {
        const where = servers.map(withoutAccount).join(", ");
        throw new MeshError(
          "registry_unavailable",
          `no NATS server answers at ${where}: start one (nats-server -js) or set NATS_URL`,
          { cause },
        );
      }
      await sleep(RETRY_MS);
    }
  }
}

function accountOf(server: string): { user?: string; pass?: string } {
  if (!URL.canParse(server)) return {};
  const { username, password } = new URL(server);
  if (username === "") return {};
  return { user: decodeURIComponent(username), pass: decodeURIComponent(password) };
}

/** Also what errors and logs may show. */
function withoutAccount(server: string): string {
  return server.replace(/^([a-z]+:\/\/)[^@/]*@/, "$1");
}

/** What was asked has nobody to answer it. */
export function isNoResponders(error: unknown): boolean {
  if (error instanceof errors.NoRespondersError) return true;
  return error instanceof errors.RequestError && error.isNoResponders();
}
